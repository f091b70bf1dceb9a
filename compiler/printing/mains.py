"""Printing main functions: oracles, scalars and control flow between the kernels."""

from collections.abc import Callable
from dataclasses import replace

from ..graph import Node
from ..plan import Block, Kernel
from ..predicate import asks_parameters
from ..quoting import quoted
from .function import (
    Program,
    assignments,
    bare_tuple,
    stage_comment,
    until_it_fits,
    view_piece,
)
from .layout import (
    INDENT,
    WIDTH,
    Chain,
    Labelled,
    Piece,
    assigned,
    call,
    flat,
    lines,
    signature,
    tuple_of,
)
from .main_statements import UNPACKED, MainStatements, is_called
from .statements import Inner, Statement, runs

_READ = 'h["{}"]'


def main_lines(program: Program, block: Block, head: list[str], result: "Result") -> list[str]:
    """A main function: `head` is its signature and docstring, `result` what it returns."""
    return until_it_fits(lambda spilled: _MainWriter(program, block, head, result, spilled).write())


Result = Callable[[Callable[[int], Piece]], Piece]
"""Makes the returned piece, given the text of each value."""


class _MainWriter(MainStatements):
    def __init__(
        self,
        program: Program,
        block: Block,
        head: list[str],
        result: Result,
        spilled: set[int],
    ) -> None:
        super().__init__(program, block, spilled)
        self.head = head
        self.result = result

    def write(self) -> tuple[list[str], int | None]:
        statements = self._statements(self.block)
        end = self.leaves(self.block.results)
        every = _flattened(statements)
        reads = end.union(*(s.uses for s in every)) if every else end
        masks = sorted(-id for id in reads if id < 0)
        constants = self._constants(every)
        self.variables |= set(constants)
        unpacked = [id for id in self.nodes if id in reads and self.nodes[id].op in UNPACKED]
        inputs = [id for id, node in self.nodes.items() if node.op == "input"]
        # Each region has a node for `w`: that of this function must be the one that holds the name.
        inputs.sort(key=lambda id: id not in reads)
        given = (*inputs, *(-m for m in self._with_parents(masks)), *unpacked, *constants)
        statements = [s for s in statements if s.node is None or s.node.op not in UNPACKED]
        keep = end | {-m for m in masks} | set(constants)
        self.names.assign(statements, keep, given)
        rows = [*self.head]
        rows += self._mask_lines(self._with_parents(masks))
        rows += self._unpack_lines(unpacked)
        shown: set[int] = set()
        rows += self._text(statements, 1, shown)
        late = self.constants(self.block.results)
        rows += self.constant_lines([c for c in late if c not in shown], 1)
        piece = self.result(lambda id: self._name(id) or self.expressions.value(id))
        rows += lines(piece, 1, "return ")
        return rows, self.too_long

    def _constants(self, statements: list[Statement]) -> list[int]:
        found: dict[int, None] = {}
        for statement in statements:
            found |= dict.fromkeys(self._read_constants(statement))
        found |= dict.fromkeys(c for c in self.constants(self.block.results))
        return list(found)

    def _read_constants(self, statement: Statement) -> list[int]:
        if statement.node is None:
            return []
        results = [i for inner in statement.inner for i in inner.results]
        turn = self._turn_in(statement.node)
        told = () if turn is None else turn.inputs
        return self.constants((*statement.node.inputs, *told, *results))

    def _with_parents(self, masks: list[int]) -> list[int]:
        domains = self.program.graph.domains
        found: dict[int, None] = {}
        for mask in masks:
            chain = [mask]
            while (parent := domains[chain[-1]].parent) != 0:
                chain.append(parent)
            found |= dict.fromkeys(reversed(chain))
        return list(found)

    def _mask_lines(self, masks: list[int]) -> list[str]:
        rows = []
        for mask in masks:
            domain = self.program.graph.domains[mask]
            before = f"{self.names(-mask)} = "
            arguments: list[Piece] = ["w", f"in_{domain.name}"]
            outer = self.names(-domain.parent) or ""
            if domain.view is not None:
                arguments += [outer, view_piece(domain.view, _READ)]
            if asks_parameters(domain.predicate):
                arguments.append("h=h")
            made = call("rt.mask", *arguments)
            if domain.view is not None or not domain.parent:
                rows += lines(made, 1, before)
            elif len(f"{INDENT}{before}{outer} & rt.mask(") <= WIDTH:
                rows += lines(made, 1, f"{before}{outer} & ")
            else:
                rows += lines(Chain((outer, f"& {flat(made)}")), 1, before)
        return rows

    def _unpack_lines(self, ids: list[int]) -> list[str]:
        rows: list[str] = []
        parameters = [
            (self.names(i) or "", f'h["{self.nodes[i]["name"]}"]')
            for i in ids
            if self.nodes[i].op == "parameter"
        ]
        rows += assignments(parameters, 1)
        by_stage: dict[str, list[tuple[str, str]]] = {}
        for id in ids:
            if self.nodes[id].op == "state":
                slot = self.program.graph.slots[int(self.nodes[id]["name"])]
                text = f"slots[{quoted(slot.stage)}][{quoted(slot.name)}]"
                by_stage.setdefault(slot.stage, []).append((self.names(id) or "", text))
        for pairs in by_stage.values():
            rows += assignments(pairs, 1)
        return rows

    def _text(
        self, statements: list[Statement], indent: int, shown: set[int], around: int = -1
    ) -> list[str]:
        rows: list[str] = []
        for stage, run in runs(statements):
            fresh = [c for s in run for c in self._read_constants(s) if c not in shown]
            wanted = list(dict.fromkeys(fresh))
            shown |= set(wanted)
            note = stage_comment(self.program.graph, stage, indent) if stage != around else []
            opens_def = run[0].inner and not wanted and not self._is_static(run[0])
            rows += [""] if rows and note and opens_def else []
            rows += note
            rows += self.constant_lines(wanted, indent)
            for place, statement in enumerate(run):
                spaced = bool(rows) and not (place == 0 and note and opens_def)
                rows += self._statement(statement, indent, shown, spaced)
        return rows

    def _statement(
        self, statement: Statement, indent: int, shown: set[int], spaced: bool
    ) -> list[str]:
        names = [self.names(id) or "" for id in statement.defines]
        if statement.kernel is not None:
            function, arguments = self._called(statement)
            return assigned(names, call(function, *arguments), indent)
        node = statement.node
        assert node is not None
        if node.op == "point":
            asks = (quoted(a) for a in self.program.asks[node.id])
            made = call("oracles.at", self.expressions.operand(node.inputs[0]), *asks)
            return lines(made, indent, f"{names[0]} = ")
        if self._is_static(statement):
            return self._static_choice(statement, node, indent, shown)
        if node.op == "stagger":
            return self._staggered(statement, node, indent, shown, spaced)
        if (turn := self._turn_in(node)) is not None:
            return self._instead(statement, node, turn, indent, shown, spaced)
        if node.regions:
            return self._control_text(statement, node, names, indent, shown, spaced)
        if node.op == "extern":
            read = {int(self.nodes[i]["index"]): self.names(i) for i in statement.defines}
            names = [", ".join(read.get(place) or "_" for place in range(2))]
        return self.spill(node.id, self.expressions.value(node.id), indent, f"{names[0]} = ")

    def _called(self, statement: Statement) -> tuple[str, list[str]]:
        """The kernel of a statement, and what it is given."""
        kernel = statement.kernel
        assert kernel is not None
        given = (*kernel.fields, *(-m for m in kernel.masks), *kernel.scalars)
        arguments = [self.expressions.operand(i) if i >= 0 else self.names(i) or "" for i in given]
        return self.program.kernel_names[kernel], arguments

    def _static_choice(
        self, statement: Statement, node: Node, indent: int, shown: set[int]
    ) -> list[str]:
        rows: list[str] = []
        condition = self.expressions.condition(node.inputs[0])
        heads = (f"if {condition}:", "else:")
        for head, inner in zip(heads, statement.inner, strict=True):
            body = self._text(inner.statements, indent + 1, set(shown), node.stage)
            pairs = [
                (self.names(item) or "", self.expressions.condition(result))
                for item, result in zip(statement.defines, inner.results, strict=False)
            ]
            body += assignments([(n, v) for n, v in pairs if n != v], indent + 1)
            if body:
                alone = head == "else:" and not rows
                head = f"if {self.expressions.negation(node.inputs[0])}:" if alone else head
                rows += [INDENT * indent + head, *body]
        return rows

    def _control_text(
        self,
        statement: Statement,
        node: Node,
        names: list[str],
        indent: int,
        shown: set[int],
        spaced: bool,
    ) -> list[str]:
        rows: list[str] = []
        for inner in statement.inner:
            own = [self.names(i) or "" for i in inner.arguments]
            rows += self._nested(inner, node, own, indent, shown, spaced or bool(rows))
        rows.append("")
        functions = [inner.name for inner in statement.inner]
        inputs = [self.expressions.operand(i) for i in node.inputs]
        if node.op == "if":
            made = call("jax.lax.cond", inputs[0], *functions)
        elif node.op == "per_example_mean":
            made = call(f"{inputs[0]}.mean", *functions)
        elif is_called(node):
            made = self.expressions.spectral(node, *functions)
        else:
            carried = tuple_of(inputs[1:])
            made = call("rt.repeat", inputs[0], functions[0], carried, *functions[1:])
            read = {int(self.nodes[i]["index"]): self.names(i) for i in statement.defines}
            names = [read.get(place) or "_" for place in range(len(inputs) - 1)]
        if len(names) == 1 and node.op == "loop":
            names = [f"({names[0]},)"]
        return rows + assigned(names, made, indent)

    def _nested(
        self,
        inner: Inner,
        node: Node,
        parameters: list[str],
        indent: int,
        shown: set[int],
        spaced: bool,
    ) -> list[str]:
        """A nested function."""
        rows = [""] if spaced else []
        rows += signature(inner.name, parameters, indent)
        rows += self._text(inner.statements, indent + 1, set(shown), node.stage)
        results = [self.expressions.operand(i) for i in inner.results]
        carries = node.op == "loop" and not inner.name.startswith("while")
        if len(results) == 1 and not carries:
            (id,) = inner.results
            value = self._name(id) or self.expressions.value(id)
            return rows + self.spill(id, value, indent + 1, "return ")
        if len(results) == 1:
            return rows + lines(f"({results[0]},)", indent + 1, "return ")
        return rows + lines(bare_tuple(results, indent + 1), indent + 1, "return ")

    def _staggered(
        self, statement: Statement, node: Node, indent: int, shown: set[int], spaced: bool
    ) -> list[str]:
        """What is kept, with a function that makes it anew and the fields and sets it is told."""
        rows, made = self._turn(statement, node, indent, shown, spaced)
        rows += [""] if rows else []
        read = {int(self.nodes[i]["index"]): self.names(i) for i in statement.defines}
        names = [read.get(place) or "_" for place in range(len(node.inputs) - 2)]
        return rows + assigned(names, call("rt.staggered", *made, *self._after(statement)), indent)

    def _instead(
        self,
        statement: Statement,
        node: Node,
        turn: Node,
        indent: int,
        shown: set[int],
        spaced: bool,
    ) -> list[str]:
        """Staggered work, and what is done instead for all tensors where a condition holds."""
        first, other = statement.inner
        (inside,) = (s for s in other.statements if s.node is turn)
        rows, made = self._turn(inside, turn, indent, shown, spaced)
        places = [int(self.nodes[i]["index"]) for i in other.results]
        order = sorted(range(len(places)), key=lambda result: places[result])
        ordered = replace(first, results=tuple(first.results[result] for result in order))
        given = self._given(ordered)
        rows += self._nested(ordered, node, given, indent, shown, spaced or bool(rows))
        rows.append("")
        condition = self.expressions.operand(node.inputs[0])
        told = tuple_of(given)
        made.append(Labelled("instead=", call("rt.Instead", condition, first.name, told)))
        read = {int(self.nodes[i]["index"]): self.names(i) for i in statement.defines}
        names = [read.get(result) or "_" for result in order]
        return rows + assigned(names, call("rt.staggered", *made, *self._after(statement)), indent)

    def _turn(
        self, statement: Statement, node: Node, indent: int, shown: set[int], spaced: bool
    ) -> tuple[list[str], list[Piece]]:
        """The rows before staggered work, and what it is told."""
        (inner,) = statement.inner
        period, count, *kept = (self.expressions.operand(i) for i in node.inputs)
        rows: list[str] = []
        if self._is_direct(node):
            function, given = self._called(inner.statements[0])
        else:
            function, given = inner.name, self._given(inner)
            rows = self._nested(inner, node, given, indent, shown, spaced)
        olds = kept[0] if len(kept) == 1 else tuple_of(kept)
        return rows, [period, count, olds, function, *given]

    def _is_direct(self, node: Node) -> bool:
        """Whether staggered work is one kernel and nothing else, and needs no function around."""
        (block,) = self.program.plan.inner[node.id]
        kernels = [step for step in block.steps if isinstance(step, Kernel)]
        return len(kernels) == len(block.steps) == 1 and kernels[0].results == block.results

    def _given(self, inner: Inner) -> list[str]:
        """The fields and sets that a nested function reads, as what it takes."""
        told = (i for i in inner.captured if i < 0 or self.nodes[i].type.is_field)
        return [self.names(i) or "" for i in sorted(told, key=lambda i: (i < 0, abs(i)))]

    def _after(self, statement: Statement) -> list[Piece]:
        names = [self.names(i) or "" for i in statement.after]
        return [Labelled("after=", tuple_of(names))] if names else []


def _flattened(statements: list[Statement]) -> list[Statement]:
    found: list[Statement] = []
    for statement in statements:
        found.append(statement)
        for inner in statement.inner:
            found += _flattened(inner.statements)
    return found
