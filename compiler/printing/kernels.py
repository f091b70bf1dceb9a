"""Printing kernels: the functions of one tensor."""

from collections.abc import Iterator

from ..graph import Node
from ..plan import Kernel
from .function import Function, Program, bare_tuple, stage_comment, until_it_fits
from .layout import INDENT, Chain, lines, signature
from .statements import Statement, runs


def kernel_lines(program: Program, kernel: Kernel) -> list[str]:
    """The definition of a kernel."""
    return until_it_fits(lambda spilled: _KernelWriter(program, kernel, spilled).write())


class _KernelWriter(Function):
    def __init__(self, program: Program, kernel: Kernel, spilled: set[int]) -> None:
        super().__init__(program, spilled)
        self.kernel = kernel
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
        rows = ["@rt.per_tensor", *signature(self.program.kernel_names[kernel], parameters)]
        rows += self._body(statements)
        if kernel.results[0] in self.variables:
            results = [self._result(i) for i in kernel.results]
            rows += lines(bare_tuple(results, 1), 1, "return ")
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
        made, chosen = self._made(inside, order), int(merge["domain"])
        if made < 0 and self._made(outside, order) < 0:
            return False  # two parameters of a kernel are two variables
        later = [s for s in statements[made + 1 :] if outside in s.uses and s.node is not merge]
        guarded = self.program.graph.is_within(self.nodes[inside].type.domain, chosen)
        return not later and guarded and self._spares(outside, chosen, made, order)

    def _made(self, id: int, order: dict[int, int]) -> int:
        """The place of the first statement that makes a part of a value; -1 for one given."""
        if id in self.shared:
            return min(self._made(side, order) for side in self.nodes[id].inputs)
        return order.get(id, -1)

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
        commented = {statement.stage for statement in statements}
        for stage, run in runs(statements):
            inlined = {i for s in run if s.node for i in self._stages(s.node)} - commented
            for line in (*sorted(inlined), stage):
                rows += stage_comment(self.program.graph, line, 1)
            commented |= inlined
            wanted = self.constants(i for s in run for i in self._inputs(s))
            rows += self.constant_lines([i for i in wanted if i not in shown], 1)
            shown |= set(wanted)
            rows += self._blocks(run)
        return rows

    def _stages(self, node: Node) -> Iterator[int]:
        """The lines of the spec that the inlined parts of a value come from."""
        for id in node.inputs:
            if id in self.kernel.nodes and id not in self.variables:
                yield self.nodes[id].stage
                yield from self._stages(self.nodes[id])

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

    def _chosen(self, node: Node) -> Chain:
        inside, outside = node.inputs
        rest = self.nodes[outside]
        is_part = rest.op == "merge" and outside not in self.variables
        other = self._chosen(rest).parts if is_part else (self.expressions.operand(outside, 1),)
        mask = self.names(-int(node["domain"]))
        first = self.expressions.operand(inside, 1)
        return Chain((first, f"if {mask}", f"else {other[0]}", *other[1:]))
