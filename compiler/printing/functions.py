"""Printing functions: kernels (of one tensor) and the main functions between them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..graph import Graph, Node
from ..plan import Block, Kernel, Plan, is_constant
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
    quoted,
    signature,
    tuple_of,
)
from .statements import Inner, Names, Statement, runs

ASKS = ("loss", "grad", "outputs", "outputs_grad", "pullback", "hvp", "curvature")
"""What a point of the objective can be asked, in the order in which it is printed."""

_UNPACKED = ("parameter", "state")


@dataclass
class Program:
    """What printing needs to know of the whole program."""

    plan: Plan
    kernel_names: Mapping[Kernel, str]
    hints: dict[int, str]
    asks: Mapping[int, tuple[str, ...]]

    @property
    def nodes(self) -> Mapping[int, Node]:
        """Every node by its id."""
        return self.plan.nodes

    @property
    def graph(self) -> Graph:
        """The graph that is printed."""
        return self.plan.graph


def program(plan: Plan, kernel_names: Mapping[Kernel, str]) -> Program:
    """Gather what every function needs."""
    hints = {id: hint(node, plan.nodes) for id, node in plan.nodes.items()}
    hints |= {-n: domain.name for n, domain in enumerate(plan.graph.domains) if n > 0}
    asks: dict[int, set[str]] = {}
    for node in plan.nodes.values():
        if node.op in ASKS:
            asks.setdefault(node.inputs[0], set()).add(node.op)
    ordered = {id: tuple(a for a in ASKS if a in asked) for id, asked in asks.items()}
    return Program(plan, kernel_names, hints, ordered)


class Function:
    """What kernels and main functions share: variables, constants, comments, spilling."""

    def __init__(self, program: Program, in_kernel: bool) -> None:
        self.program = program
        self.nodes = program.nodes
        self.names = Names(program.hints, LOCAL)
        self.expressions = Expressions(self.nodes, self._name, in_kernel)
        self.spilled: set[int] = set()
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
            if node.op not in ("point",) and node.type.domain and _fills(node):
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


def _fills(node: Node) -> bool:
    from ..ops import OPS

    return OPS[node.op].op_class in ("fill", "random") and node.op != "copy"


def assignments(pairs: list[tuple[str, str]], indent: int) -> list[str]:
    """Several assignments on one line where it fits, otherwise on a line each."""
    if not pairs:
        return []
    targets, values = (", ".join(side) for side in zip(*pairs, strict=True))
    row = f"{INDENT * indent}{targets} = {values}"
    if len(row) <= WIDTH:
        return [row]
    return [f"{INDENT * indent}{target} = {value}" for target, value in pairs]


def stage_comment(graph: Graph, stage: int, indent: int) -> list[str]:
    """`# 10 | clip global_norm(1.0)`: the line of the spec that caused what follows."""
    if stage < 0:
        return []
    line = graph.stages[stage]
    text = comment(f"{line.line} | {line.text}")
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


# ---- kernels


def kernel_lines(program: Program, kernel: Kernel) -> list[str]:
    """The definition of a kernel."""
    return until_it_fits(lambda spilled: _KernelWriter(program, kernel, spilled).write())


class _KernelWriter(Function):
    def __init__(self, program: Program, kernel: Kernel, spilled: set[int]) -> None:
        super().__init__(program, in_kernel=True)
        self.kernel = kernel
        self.spilled = spilled
        self.shared: set[int] = set()
        given = {*kernel.fields, *kernel.scalars}
        self.variables = given | {id for id in kernel.nodes if self._is_bound(id)}

    def _is_bound(self, id: int) -> bool:
        node = self.nodes[id]
        uses = sum(self.nodes[i].inputs.count(id) for i in self.kernel.nodes)
        if self.kernel.results == (id,) and uses == 0 and self._can_return(node):
            return False
        kept = node.name is not None or node.op == "merge" or id in self.spilled
        return kept or id in self.kernel.results or uses != 1

    def _can_return(self, node: Node) -> bool:
        """Whether a lone result can be returned without a name: it is there for every tensor."""
        return node.op != "merge" and node.type.domain == 0

    def write(self) -> tuple[list[str], int | None]:
        kernel = self.kernel
        statements = [
            Statement(
                defines=(id,),
                uses=self.leaves(self.nodes[id].inputs),
                stage=self.nodes[id].stage,
                domain=self.nodes[id].type.domain,
                node=self.nodes[id],
            )
            for id in kernel.nodes
            if id in self.variables or kernel.results == (id,)
        ]
        statements = self._settle_choices(statements)
        masks = tuple(-m for m in kernel.masks)
        given = (*kernel.fields, *masks, *kernel.scalars)
        constants = self.constants(i for s in statements for i in self._inputs(s))
        last = self.leaves(kernel.results)
        end = last | set(masks) | set(constants)
        self.variables |= set(constants)
        self.names.assign(statements, end, (*given, *constants))
        parameters = [self.names(id) or "" for id in given]
        rows = ["@rt.per_tensor", *signature(program_name(self.program, kernel), parameters)]
        rows += self._body(statements)
        if kernel.results[0] in self.variables:
            results = [self._result(i) for i in kernel.results]
            rows += lines(_bare_tuple(results, 1), 1, "return ")
        return rows, self.too_long

    def _inputs(self, statement: Statement) -> tuple[int, ...]:
        assert statement.node is not None
        return statement.node.inputs

    def _result(self, id: int) -> str:
        name = self.names(id) or ""
        domain = self.nodes[id].type.domain
        # A field that is given for the same tensors is None elsewhere, and stays so.
        alike = (i for i in self.kernel.fields if self.nodes[i].type.domain == domain)
        if domain == 0 or name in {self.names(i) for i in alike}:
            return name
        return f"{name} if {self.names(-domain)} else None"

    def _settle_choices(self, statements: list[Statement]) -> list[Statement]:
        """The statements, after settling which choices by tensor need one of their own.

        A choice shares one variable with its sides where it can: `if matrices: u = u + rate * w`
        then needs no further line. One that is only the last part of another choice is written
        there: `m if deep else g if flat else u`; on its own it would read, for the tensors of
        the other choice, what is not there.
        """
        order = {s.defines[0]: place for place, s in enumerate(statements)}
        kept = []
        for statement in statements:
            node = statement.node
            assert node is not None
            kept.append(statement)
            if node.op != "merge":
                continue
            inside, outside = node.inputs
            if self._may_share(inside, outside, node, statements, order):
                self.names.unite(inside, node.id)
                self.names.unite(outside, node.id)
                self.shared.add(node.id)
            elif self._is_last_part(node.id):
                self.variables.remove(node.id)
                kept.pop()
        for statement in kept:
            assert statement.node is not None
            statement.uses = self.leaves(statement.node.inputs)
        return kept

    def _is_last_part(self, id: int) -> bool:
        users = [self.nodes[i] for i in self.kernel.nodes if id in self.nodes[i].inputs]
        ends = [user.op == "merge" and user.inputs[0] != id for user in users]
        return ends == [True] and id not in self.kernel.results

    def _ends_in(self, id: int, merge: Node) -> bool:
        users = [i for i in self.kernel.nodes if id in self.nodes[i].inputs]
        return users == [merge.id] and id not in self.kernel.results

    def _may_share(
        self,
        inside: int,
        outside: int,
        merge: Node,
        statements: list[Statement],
        order: dict[int, int],
    ) -> bool:
        """Whether nothing but the merge reads the sides later, and neither side hides the other."""
        if not self._ends_in(inside, merge) or inside not in order:
            return False
        if outside in self.kernel.results or outside not in self.variables:
            return False
        made, chosen = order[inside], int(merge["domain"])
        later = [s for s in statements[made + 1 :] if outside in s.uses and s.node is not merge]
        guarded = self.program.graph.is_within(self.nodes[inside].type.domain, chosen)
        return not later and guarded and self._spares(outside, chosen, made, order)

    def _spares(self, id: int, domain: int, made: int, order: dict[int, int]) -> bool:
        """Whether making a value changes nothing that was made before for the tensors of a set."""
        if order.get(id, -1) < made:
            return True
        node = self.nodes[id]
        if id in self.shared:
            return all(self._spares(side, domain, made, order) for side in node.inputs)
        return not self.program.graph.is_within(domain, node.type.domain)

    def _body(self, statements: list[Statement]) -> list[str]:
        rows: list[str] = []
        shown: set[int] = set()
        for stage, run in runs(statements):
            rows += stage_comment(self.program.graph, stage, 1)
            wanted = self.constants_of(run)
            rows += self.constant_lines([i for i in wanted if i not in shown], 1)
            shown |= set(wanted)
            rows += self._blocks(run)
        return rows

    def constants_of(self, run: list[Statement]) -> list[int]:
        """Named literals that a run of statements mentions."""
        found: dict[int, None] = {}
        for statement in run:
            for id in self._inputs(statement):
                found |= dict.fromkeys(self._mentioned(id))
        return list(found)

    def _mentioned(self, id: int) -> list[int]:
        if self._is_named_constant(id):
            return [id]
        if id in self.variables:
            return []
        return [c for i in self.nodes[id].inputs for c in self._mentioned(i)]

    def _blocks(self, run: list[Statement]) -> list[str]:
        rows: list[str] = []
        current = 0
        for statement in run:
            body = self._statement(statement, 2 if statement.domain else 1)
            if not body:
                continue
            if statement.domain and statement.domain != current:
                rows.append(f"{INDENT}if {self.names(-statement.domain)}:")
            rows += body
            current = statement.domain
        return rows

    def _statement(self, statement: Statement, indent: int) -> list[str]:
        node = statement.node
        assert node is not None
        name = self.names(node.id) or ""
        if node.op == "merge":
            return self._choice(node, name, indent)
        before = f"{name} = " if node.id in self.variables else "return "
        return self.spill(node.id, self.expressions.value(node.id), indent, before)

    def _choice(self, node: Node, name: str, indent: int) -> list[str]:
        if node.id in self.shared:
            return []
        return self.spill(node.id, self._chosen(node), indent, f"{name} = ")

    def _chosen(self, node: Node) -> str:
        inside, outside = node.inputs
        rest = self.nodes[outside]
        is_part = rest.op == "merge" and outside not in self.variables
        other = self._chosen(rest) if is_part else self.expressions.operand(outside, 1)
        mask = self.names(-int(node["domain"]))
        return f"{self.expressions.operand(inside, 1)} if {mask} else {other}"


def program_name(program: Program, kernel: Kernel) -> str:
    """The function name of a kernel."""
    return program.kernel_names[kernel]


def _bare_tuple(elements: list[str], indent: int) -> Piece:
    text = ", ".join(elements)
    fits = len(INDENT * indent + "return " + text) <= WIDTH
    return text if fits else tuple_of(elements)


# ---- main functions


def main_lines(program: Program, block: Block, head: list[str], result: "Result") -> list[str]:
    """A main function: `head` is its signature and docstring, `result` what it returns."""
    return until_it_fits(lambda spilled: _MainWriter(program, block, head, result, spilled).write())


Result = Callable[[Callable[[int], str]], Piece]
"""Makes the returned piece, given the text of each value."""


class _MainWriter(Function):
    def __init__(
        self,
        program: Program,
        block: Block,
        head: list[str],
        result: Result,
        spilled: set[int],
    ) -> None:
        super().__init__(program, in_kernel=False)
        self.block = block
        self.head = head
        self.result = result
        self.spilled = spilled
        self.counts: Counter[int] = Counter()
        self._count(block)
        self.variables = {id for id in self._all(block) if self._is_bound(id)}
        for id, node in self.nodes.items():
            if node.op == "input":
                self.names.fix(id, str(node["name"]))
                self.variables.add(id)

    # ---- what is a variable

    def _all(self, block: Block) -> set[int]:
        found = set(block.arguments)
        for step in block.steps:
            if isinstance(step, Kernel):
                found |= {*step.results}
            else:
                found.add(step)
                for inner in self.program.plan.inner.get(step, ()):
                    found |= self._all(inner)
        return found

    def _count(self, block: Block) -> None:
        """How often each value is read; a kernel's arguments count twice, so they get names."""
        self.counts.update(block.results)
        for step in block.steps:
            if isinstance(step, Kernel):
                self.counts.update((*step.fields, *step.scalars) * 2)
                continue
            self.counts.update(self.nodes[step].inputs)
            for inner in self.program.plan.inner.get(step, ()):
                self._count(inner)

    def _is_bound(self, id: int) -> bool:
        node = self.nodes[id]
        if node.op in ("if", "loop"):
            return False
        if node.op in ("item", "point", "argument", *_UNPACKED):
            return True
        if node.op in ("loss", "grad", "outputs", "outputs_grad"):
            return self.counts[id] > 1
        from ..plan import is_kernel_work

        if is_kernel_work(node):
            return True
        return node.name is not None or id in self.spilled or self.counts[id] > 1

    # ---- statements

    def _statements(self, block: Block) -> list[Statement]:
        found: list[Statement] = []
        for step in block.steps:
            if isinstance(step, Kernel):
                found.append(self._kernel(step))
                continue
            node = self.nodes[step]
            if node.regions:
                found.append(self._control(node, block))
            elif node.op not in ("item", "input") and step in self.variables:
                found.append(
                    Statement(
                        (step,), self.leaves(node.inputs) | self._masks(node), node.stage, 0, node
                    )
                )
        return found

    def _masks(self, node: Node) -> set[int]:
        return {-node.type.domain} if node.type.domain and _fills(node) else set()

    def _kernel(self, kernel: Kernel) -> Statement:
        uses = self.leaves((*kernel.fields, *kernel.scalars)) | {-m for m in kernel.masks}
        stages = {self.nodes[i].stage for i in kernel.nodes}
        stage = stages.pop() if len(stages) == 1 else -1
        return Statement(kernel.results, uses, stage, kernel=kernel)

    def _control(self, node: Node, block: Block) -> Statement:
        items = [
            step
            for step in block.steps
            if not isinstance(step, Kernel)
            and self.nodes[step].op == "item"
            and self.nodes[step].inputs[0] == node.id
        ]
        items.sort(key=lambda i: int(self.nodes[i]["index"]))
        statement = Statement(tuple(items), self.leaves(node.inputs), node.stage, 0, node)
        label = self._label(node, items)
        roles = ("do", "skip") if node.op == "if" else ("body", "while")
        if node.op == "if" and any(self.program.plan.inner[node.id][1].steps):
            roles = ("do", "otherwise")
        for role, inner in zip(roles, self.program.plan.inner[node.id], strict=False):
            statements = self._statements(inner)
            arguments = inner.arguments
            used = self.leaves(inner.results).union(*(s.uses for s in statements))
            used -= {i for s in statements for i in s.defines} | set(arguments)
            own = Inner(f"{role}_{label}", arguments, statements, inner.results, used)
            statement.inner.append(own)
            statement.uses |= used
        return statement

    def _label(self, node: Node, items: list[int]) -> str:
        if node.stage >= 0:
            label = self.program.graph.stages[node.stage].label
            return label.removeprefix("observe ").replace(".", "_")
        return self.program.hints[items[0]] if items else "check"

    # ---- text

    def write(self) -> tuple[list[str], int | None]:
        statements = self._statements(self.block)
        end = self.leaves(self.block.results)
        every = _flattened(statements)
        reads = end.union(*(s.uses for s in every)) if every else end
        masks = sorted(-id for id in reads if id < 0)
        constants = self._constants(every)
        self.variables |= set(constants)
        unpacked = [id for id in self.nodes if id in reads and self.nodes[id].op in _UNPACKED]
        inputs = [id for id, node in self.nodes.items() if node.op == "input"]
        given = (*inputs, *(-m for m in self._with_parents(masks)), *unpacked, *constants)
        statements = [s for s in statements if s.node is None or s.node.op not in _UNPACKED]
        keep = end | {-m for m in masks} | set(constants)
        self.names.assign(statements, keep, given)
        rows = [*self.head]
        rows += self._mask_lines(self._with_parents(masks))
        rows += self._unpack_lines(unpacked)
        shown: set[int] = set()
        rows += self._text(statements, 1, shown)
        late = self.constants(self.block.results)
        rows += self.constant_lines([c for c in late if c not in shown], 1)
        piece = self.result(self.expressions.operand)
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
        return self._mentioned((*statement.node.inputs, *results))

    def _mentioned(self, ids: Iterable[int]) -> list[int]:
        found: dict[int, None] = {}
        for id in ids:
            if self._is_named_constant(id):
                found[id] = None
            elif id not in self.variables:
                found |= dict.fromkeys(self._mentioned(self.nodes[id].inputs))
        return list(found)

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
            before += f"{self.names(-domain.parent)} & " if domain.parent else ""
            rows += lines(call("rt.mask", "w", f"in_{domain.name}"), 1, before)
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

    def _is_static(self, statement: Statement) -> bool:
        node = statement.node
        return node is not None and node.op == "if" and self.nodes[node.inputs[0]].type.static

    def _statement(
        self, statement: Statement, indent: int, shown: set[int], spaced: bool
    ) -> list[str]:
        names = [self.names(id) or "" for id in statement.defines]
        if statement.kernel is not None:
            kernel = statement.kernel
            given = (*kernel.fields, *(-m for m in kernel.masks), *kernel.scalars)
            arguments = [
                self.expressions.operand(i) if i >= 0 else self.names(i) or "" for i in given
            ]
            made = call(program_name(self.program, kernel), *arguments)
            return lines(made, indent, f"{', '.join(names)} = ")
        node = statement.node
        assert node is not None
        if node.op == "point":
            asks = (quoted(a) for a in self.program.asks[node.id])
            made = call("oracles.at", self.expressions.operand(node.inputs[0]), *asks)
            return lines(made, indent, f"{names[0]} = ")
        if self._is_static(statement):
            return self._static_choice(statement, node, indent, shown)
        if node.regions:
            return self._control_text(statement, node, names, indent, shown, spaced)
        return self.spill(node.id, self.expressions.value(node.id), indent, f"{names[0]} = ")

    def _static_choice(
        self, statement: Statement, node: Node, indent: int, shown: set[int]
    ) -> list[str]:
        rows: list[str] = []
        condition = self.expressions.operand(node.inputs[0])
        for head, inner in zip((f"if {condition}:", "else:"), statement.inner, strict=True):
            body = self._text(inner.statements, indent + 1, set(shown), node.stage)
            pairs = [
                (self.names(item) or "", self.expressions.operand(result))
                for item, result in zip(statement.defines, inner.results, strict=False)
            ]
            body += assignments([(n, v) for n, v in pairs if n != v], indent + 1)
            if self._refuses(node, inner):
                message = next(
                    n["message"]
                    for region in node.regions
                    for n in region.nodes
                    if n.op == "refuse"
                )
                body += lines(call("ValueError", quoted(str(message))), indent + 1, "raise ")
            if body:
                rows += [INDENT * indent + head, *body]
        return rows

    def _refuses(self, node: Node, inner: Inner) -> bool:
        place = 0 if inner.name.startswith("do") else 1
        return any(n.op == "refuse" for n in node.regions[place].nodes)

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
        tab = INDENT * indent
        for inner in statement.inner:
            rows += [""] if spaced or rows else []
            own = [self.names(i) or "" for i in inner.arguments]
            head = signature(inner.name, own)
            rows += [tab + row for row in head]
            rows += self._text(inner.statements, indent + 1, set(shown), node.stage)
            results = [self.expressions.operand(i) for i in inner.results]
            one_value = node.op == "if" or inner.name.startswith("while")
            returned: Piece = _bare_tuple(results, indent + 1)
            if len(results) == 1 and not one_value:
                returned = f"({results[0]},)"
            rows += lines(returned, indent + 1, "return ")
        rows.append("")
        functions = [inner.name for inner in statement.inner]
        inputs = [self.expressions.operand(i) for i in node.inputs]
        if node.op == "if":
            made = call("jax.lax.cond", inputs[0], *functions)
        else:
            carried = tuple_of(inputs[1:])
            made = call("rt.repeat", inputs[0], functions[0], carried, *functions[1:])
            read = {int(self.nodes[i]["index"]): self.names(i) for i in statement.defines}
            names = [read.get(place) or "_" for place in range(len(inputs) - 1)]
        targets = ", ".join(names)
        if len(names) == 1 and node.op == "loop":
            targets = f"({targets},)"
        return rows + lines(made, indent, f"{targets} = ")


def _flattened(statements: list[Statement]) -> list[Statement]:
    found: list[Statement] = []
    for statement in statements:
        found.append(statement)
        for inner in statement.inner:
            found += _flattened(inner.statements)
    return found
