"""What printed functions share: variables, named literals, comments, lines that fit."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..graph import Graph, Node
from ..ops import ASKED, FISHER, OPS
from ..plan import Kernel, Plan, is_constant
from ..quoting import quoted
from ..records import View
from .expressions import Expressions
from .hints import LOCAL, hint
from .layout import (
    INDENT,
    WIDTH,
    Piece,
    call,
    comment,
    flat,
    lines,
    tuple_of,
)
from .statements import Names

ASKS = (*ASKED, "examples", "measured")
"""What a point of the objective can be asked, in the order in which it is printed."""


@dataclass
class Program:
    """What printing needs to know of the whole program."""

    plan: Plan
    kernel_names: Mapping[Kernel, str]
    hints: dict[int, str]
    asks: Mapping[int, tuple[str, ...]]
    extern_names: Mapping[int, str]

    @property
    def nodes(self) -> Mapping[int, Node]:
        """Every node by its id."""
        return self.plan.nodes

    @property
    def graph(self) -> Graph:
        """The graph that is printed."""
        return self.plan.graph


def program(
    plan: Plan, kernel_names: Mapping[Kernel, str], extern_names: Mapping[int, str]
) -> Program:
    """Gather what every function needs."""
    hints = {id: hint(node, plan.nodes) for id, node in plan.nodes.items()}
    for slot, id in zip(plan.graph.slots, plan.graph.start.results, strict=True):
        if plan.nodes[id].name is None and plan.nodes[id].type.dims is not None:
            hints[id] = slot.name
    hints |= {-n: domain.name for n, domain in enumerate(plan.graph.domains) if n > 0}
    asks: dict[int, set[str]] = {}
    for node in plan.nodes.values():
        if node.op in ASKS:
            asks.setdefault(node.inputs[0], set()).add(node.op)
    ordered = {id: tuple(a for a in ASKS if a in asked) for id, asked in asks.items()}
    return Program(plan, kernel_names, hints, ordered, extern_names)


class Function:
    """What kernels and main functions share.

    `variables` are the values that have a variable; all others are printed where they are used.
    `spilled` are values that got one because a line was too long, and `too_long` is the next.
    """

    def __init__(self, program: Program, spilled: set[int]) -> None:
        self.program = program
        self.nodes = program.nodes
        self.names = Names(program.hints, LOCAL)
        self.expressions = Expressions(self.nodes, self._name, program.extern_names)
        self.spilled = spilled
        self.variables: set[int] = set()
        self.too_long: int | None = None

    def _name(self, id: int) -> str | None:
        return self.names(id) if id in self.variables or id < 0 else None

    def _is_named_constant(self, id: int) -> bool:
        node = self.nodes[id]
        return node.op == "const" and node.name is not None and node.type.kind == "scalar"

    def leaves(self, ids: Iterable[int]) -> set[int]:
        """The variables that the expressions of some values are made of."""
        found: set[int] = set()
        for id in ids:
            if id in self.variables:
                found.add(id)
                continue
            node = self.nodes[id]
            found |= self.leaves(node.inputs)
            if node.type.domain and fills(node):
                found.add(-node.type.domain)
        return found

    def constants(self, ids: Iterable[int]) -> list[int]:
        """Named literals that the expressions of some values mention, in order."""
        found: dict[int, None] = {}
        for id in ids:
            if self._is_named_constant(id):
                found[id] = None
            elif id not in self.variables:
                found |= dict.fromkeys(self.constants(self.nodes[id].inputs))
        return list(found)

    def spill(self, id: int, text: Piece, indent: int, before: str) -> list[str]:
        """The lines of `before` + expression; a line that stays too long marks what to name."""
        rows = lines(text, indent, before)
        longest = max(rows, key=len)
        if len(longest) > WIDTH and self.too_long is None:
            self.too_long = self._to_name(id, longest)
        return rows

    def _to_name(self, id: int, row: str) -> int | None:
        """The smallest inlined part of a row whose name shortens it enough, else the largest."""
        excess = len(row) - WIDTH
        texts = {i: self.expressions.operand(i) for i in self._inlined(id)}
        parts = {i: len(text) for i, text in texts.items() if text in row}
        saved = {i: size - len(self.program.hints[i]) for i, size in parts.items()}
        enough = [i for i in parts if saved[i] >= excess]
        if enough:
            return min(enough, key=lambda i: parts[i])
        return max((i for i in parts if saved[i] > 0), key=lambda i: parts[i], default=None)

    def _inlined(self, id: int) -> list[int]:
        found: list[int] = []
        for i in self.nodes[id].inputs:
            if i not in self.variables and not is_constant(self.nodes[i], self.nodes):
                found += [i] if self.nodes[i].op != "merge" else []
                found += self._inlined(i)
        return found

    def constant_lines(self, ids: list[int], indent: int) -> list[str]:
        """`b1, b2 = 0.9, 0.999`, or a line each where that is too long."""
        pairs = [(self.names(i) or "", self.expressions.value(i)) for i in ids]
        return assignments([(name, flat(value)) for name, value in pairs], indent)


def fills(node: Node) -> bool:
    """Whether a node makes a field for its own tensor set, whose variable it then reads."""
    makes = OPS[node.op].op_class in ("fill", "random") and node.op != "copy"
    return makes or node.op in FISHER


def view_piece(view: View, parameter: str) -> Piece:
    """The view of a group; `parameter` is the template of a size that is a hyperparameter."""
    given = (*view.sizes, ("blocks_of", view.blocks))
    sizes = [
        f"{name}={parameter.format(size) if isinstance(size, str) else size}"
        for name, size in given
        if size is not None
    ]
    return call("rt.View", *([quoted(view.pattern)] if view.pattern else []), *sizes)


def assignments(pairs: list[tuple[str, str]], indent: int) -> list[str]:
    """Several assignments on one line where it fits, otherwise on a line each."""
    if not pairs:
        return []
    targets, values = (", ".join(side) for side in zip(*pairs, strict=True))
    row = f"{INDENT * indent}{targets} = {values}"
    if len(row) <= WIDTH:
        return [row]
    if _read_each_other(pairs):
        return lines(tuple_of([value for _, value in pairs]), indent, f"{targets} = ")
    return [f"{INDENT * indent}{target} = {value}" for target, value in pairs]


def _read_each_other(pairs: list[tuple[str, str]]) -> bool:
    """Whether a value speaks of a variable that was assigned before it."""
    earlier: set[str] = set()
    for target, value in pairs:
        if earlier & set(re.findall(r"\w+", value)):
            return True
        earlier.add(target)
    return False


def stage_comment(graph: Graph, stage: int, indent: int) -> list[str]:
    """`# 10 | clip global_norm(1.0)`: the line of the spec that caused what follows."""
    if stage < 0:
        return []
    line = graph.stages[stage]
    text = comment(line.shown(graph.file))
    room = WIDTH - len(INDENT) * indent
    return [INDENT * indent + (text if len(text) <= room else text[: room - 3] + "...")]


def until_it_fits(write: Callable[[set[int]], tuple[list[str], int | None]]) -> list[str]:
    """Write a function again and again, naming one more part of its longest line each time."""
    spilled: set[int] = set()
    while True:
        rows, too_long = write(spilled)
        if too_long is None or too_long in spilled:
            return rows
        spilled.add(too_long)


def bare_tuple(elements: list[str], indent: int) -> Piece:
    """`a, b` for a `return`, in parentheses where that is too long."""
    text = ", ".join(elements)
    fits = len(INDENT * indent + "return " + text) <= WIDTH
    return text if fits else tuple_of(elements)
