"""Printing main functions: oracles, scalars and control flow between the kernels."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ..graph import Node, is_plain_mean
from ..ops import OPERATORS, OPS
from ..plan import Block, Kernel, free_values, is_kernel_work
from ..predicate import asks_parameters
from ..quoting import quoted
from .function import (
    Function,
    Program,
    assignments,
    bare_tuple,
    fills,
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
from .statements import Inner, Statement, runs
from .turns import made_of, turn_in

_READ = 'h["{}"]'
_UNPACKED = ("parameter", "state")
_ROLES = {"if": ("do", "skip"), "loop": ("body", "while"), "stagger": ("turn",)}
"""What the functions are called that a control flow node hands over."""


def is_called(node: Node) -> bool:
    """Whether a node hands a function to the runtime and has one result."""
    return bool(node.regions) and OPS[node.op].op_class in ("oracle", "spectral")


def main_lines(program: Program, block: Block, head: list[str], result: "Result") -> list[str]:
    """A main function: `head` is its signature and docstring, `result` what it returns."""
    return until_it_fits(lambda spilled: _MainWriter(program, block, head, result, spilled).write())


Result = Callable[[Callable[[int], Piece]], Piece]
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
        super().__init__(program, spilled)
        self.block = block
        self.head = head
        self.result = result
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
        """How often each value is read; what is handed over counts twice, so that it has a name."""
        self.counts.update(block.results)
        for step in block.steps:
            if isinstance(step, Kernel):
                self.counts.update((*step.fields, *step.scalars) * 2)
                continue
            self.counts.update(self.nodes[step].inputs)
            if self.nodes[step].op == "stagger":
                self.counts.update([*free_values(self.nodes[step].regions[0])] * 2)
            for inner in self.program.plan.inner.get(step, ()):
                self._count(inner)

    def _is_bound(self, id: int) -> bool:
        node = self.nodes[id]
        if node.op in ("if", "loop", "stagger", "extern"):
            return False
        if node.op in ("item", "point", "argument", *_UNPACKED) or is_called(node):
            return True
        if node.op in ("loss", "grad", "outputs", "outputs_grad"):
            return self.counts[id] > 1
        if is_kernel_work(node):
            return True
        return node.name is not None or id in self.spilled or self.counts[id] > 1

    # ---- statements

    def _statements(self, block: Block, around: tuple[str, ...] = ()) -> list[Statement]:
        """The statements of a block, in functions of the names `around`."""
        found: list[Statement] = []
        for step in block.steps:
            if isinstance(step, Kernel):
                found.append(self._kernel(step))
                continue
            node = self.nodes[step]
            if node.regions and not is_plain_mean(node):
                found.append(self._control(node, block, around, found))
            elif node.op == "extern":
                uses = self.leaves(node.inputs)
                found.append(Statement(self._items(node, block), uses, node.stage, 0, node))
            elif node.op not in ("item", "input") and step in self.variables:
                found.append(
                    Statement(
                        (step,), self.leaves(node.inputs) | self._masks(node), node.stage, 0, node
                    )
                )
        return found

    def _masks(self, node: Node) -> set[int]:
        return {-node.type.domain} if node.type.domain and fills(node) else set()

    def _kernel(self, kernel: Kernel) -> Statement:
        uses = self.leaves((*kernel.fields, *kernel.scalars)) | {-m for m in kernel.masks}
        stages = {self.nodes[i].stage for i in kernel.nodes}
        stage = stages.pop() if len(stages) == 1 else -1
        return Statement(kernel.results, uses, stage, kernel=kernel)

    def _items(self, node: Node, block: Block) -> tuple[int, ...]:
        """The results of a node that are read, in their order."""
        items = [
            step
            for step in block.steps
            if not isinstance(step, Kernel)
            and self.nodes[step].op == "item"
            and self.nodes[step].inputs[0] == node.id
        ]
        return tuple(sorted(items, key=lambda i: int(self.nodes[i]["index"])))

    def _control(
        self, node: Node, block: Block, around: tuple[str, ...], before: list[Statement]
    ) -> Statement:
        one_value = is_called(node)
        items = (node.id,) if one_value else self._items(node, block)
        statement = Statement(items, self.leaves(node.inputs), node.stage, 0, node)
        label = self._label(node, items)
        roles = _ROLES.get(node.op, ())
        roles = (("apply", "each") if node.op in OPERATORS else ("each",)) if one_value else roles
        if node.op == "if" and any(self.program.plan.inner[node.id][1].steps):
            roles = ("do", "otherwise")
        for role, inner in zip(roles, self.program.plan.inner[node.id], strict=False):
            name = self._function_name(f"{role}_{label}", items, around)
            statements = self._statements(inner, (*around, name))
            arguments = inner.arguments
            used = self.leaves(inner.results).union(*(s.uses for s in statements))
            used -= {i for s in statements for i in s.defines} | set(arguments)
            inline = self._is_static(statement)
            own = Inner(name, arguments, statements, inner.results, used, inline)
            statement.inner.append(own)
            statement.uses |= used
        turn = node if node.op == "stagger" else self._turn_in(node)
        if turn is not None:
            kernels = [s.kernel for s in before if s.kernel is not None]
            statement.after = made_of(turn.inputs[2:], kernels, self.nodes)
            statement.uses |= set(statement.after)
        return statement

    def _turn_in(self, node: Node) -> Node | None:
        return turn_in(node, self.program.plan)

    def _is_direct(self, node: Node) -> bool:
        """Whether staggered work is one kernel and nothing else, and needs no function around."""
        (block,) = self.program.plan.inner[node.id]
        kernels = [step for step in block.steps if isinstance(step, Kernel)]
        return len(kernels) == len(block.steps) == 1 and kernels[0].results == block.results

    def _function_name(self, wanted: str, items: tuple[int, ...], around: tuple[str, ...]) -> str:
        """What a nested function is called: not as one that it is in, nor as a variable."""
        if wanted in around and items:
            wanted = f"{wanted}_{self.program.hints[items[0]]}"
        name, count = wanted, 1
        while name in around:
            count += 1
            name = f"{wanted}_{count}"
        self.names.reserve(name)
        return name

    def _label(self, node: Node, items: tuple[int, ...]) -> str:
        if node.stage >= 0:
            label = self.program.graph.stages[node.stage].label
            return label.removeprefix("observe ").removeprefix("request ").replace(".", "_")
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
        # Each region has a node for `w`: that of this function must be the one that holds the name.
        inputs.sort(key=lambda id: id not in reads)
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

    def _is_static(self, statement: Statement) -> bool:
        node = statement.node
        return node is not None and node.op == "if" and self.nodes[node.inputs[0]].type.static

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
        rows += [INDENT * indent + row for row in signature(inner.name, parameters)]
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
