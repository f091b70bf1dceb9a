"""What stands in a main function: its variables and its statements, before they have names."""

from collections import Counter

from ..graph import Node, is_plain_mean
from ..ops import OPERATORS, OPS
from ..plan import Block, Kernel, free_values, is_kernel_work
from .function import Function, Program, fills
from .statements import Inner, Statement
from .turns import made_of, turn_in

UNPACKED = ("parameter", "state")
"""What a main function reads of its arguments at its beginning."""

_ROLES = {"if": ("do", "skip"), "loop": ("body", "while"), "stagger": ("turn",)}
"""What the functions are called that a control flow node hands over."""


def is_called(node: Node) -> bool:
    """Whether a node hands a function to the runtime and has one result."""
    return bool(node.regions) and OPS[node.op].op_class in ("oracle", "spectral")


class MainStatements(Function):
    """The statements of a block of the plan, and of the blocks in it."""

    def __init__(self, program: Program, block: Block, spilled: set[int]) -> None:
        super().__init__(program, spilled)
        self.block = block
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
        if node.op in ("item", "point", "argument", *UNPACKED) or is_called(node):
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

    def _is_static(self, statement: Statement) -> bool:
        node = statement.node
        return node is not None and node.op == "if" and self.nodes[node.inputs[0]].type.static
