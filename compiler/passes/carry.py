"""Carry scalar factors into the uses of a value, where it would be stored for them otherwise.

`u = g + decay * w` that is asked for its norm and then subtracted as `eta * u` is wanted by two
kernels of which one waits for the other, so that XLA stores it. As `eta * g + eta_times_decay * w`
the second makes of gradient and weights what it needs: a tensor less is written and read. The same
holds for a state that ends in arithmetic with a scalar: what is asked of it is then made of the old
state once more, which is copied for that. With the scalar at the first term it is not.

Needs: `factor` before, which finds the fewest operations. Guarantees: fewer tensors are written and
read by the model of `compiler.traffic`, or as many and fewer are kept; every term of a sum stays
within 16 ulps, unless a product of scalars leaves the range of floats. Factors go over sums and
never over differences, in which something may cancel.
"""

from collections import Counter
from dataclasses import dataclass, replace

from ..graph import Graph, Node, index, walk
from ..records import Scalar
from ..traffic import Traffic, traffic
from ..types import SCALAR, Type
from .cse import cse
from .dead_code import dead_code

Attributes = tuple[tuple[str, Scalar], ...]

LITERAL = replace(SCALAR, static=True)


@dataclass(frozen=True, slots=True)
class _Term:
    """A field times the scalars `over` divided by those `under`, or these alone."""

    field: int | None
    over: tuple[int, ...] = ()
    under: tuple[int, ...] = ()


def carry(graph: Graph) -> Graph:
    """See the module's docstring."""
    moved = traffic(graph)
    while better := _better(graph, moved):
        graph, moved = better
    return graph


def _better(graph: Graph, moved: Traffic) -> tuple[Graph, Traffic] | None:
    """The graph with one value spelt out, where this moves less; None where nothing does."""
    spelling = _Spelling(graph)
    for node in graph.step.nodes:
        kept = spelling.kept_in(node, moved.kept)
        if kept or node.id in moved.stored:
            changed = spelling.out(node, kept)
            now = changed and traffic(changed)
            if changed and now and _less(now, moved):
                return changed, now
    return None


def _less(one: Traffic, other: Traffic) -> bool:
    return (one.tensors, len(one.kept)) < (other.tensors, len(other.kept))


class _Spelling:
    """Values of a step as sums of terms, each a scalar times a field."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = dict(index(graph))
        self.uses = Counter(i for node in walk(graph.step) for i in node.inputs)
        self.uses.update(i for node in walk(graph.step) for r in node.regions for i in r.results)
        self.uses.update(graph.step.results)

    def kept_in(self, node: Node, kept: frozenset[int]) -> frozenset[int]:
        """The kept values that a value is a sum of, with scalars before them."""
        if not self._is_linear(node):
            return frozenset()
        return kept & {term.field for term in self._terms(node.id, _Term(None), {node.id})}

    def out(self, node: Node, kept: frozenset[int]) -> Graph | None:
        """The graph with a value as a sum of terms, the kept ones in it taken apart."""
        if not self._is_linear(node):
            return None
        terms = self._terms(node.id, _Term(None), {node.id, *kept})
        fields = [term for term in terms if term.field is not None]
        if len(fields) < 2:
            return None
        sums = _Sum(node, max(self.nodes) + 1)
        total = sums.scaled(fields[0])
        for term in terms:
            if term.field is None:
                total = sums.field("add", total, sums.product(term))
        for term in fields[1:]:
            total = sums.field("add", total, sums.scaled(term))
        made = sums.ending_as(node)
        step = self.graph.step
        nodes = [new for old in step.nodes for new in (made if old.id == node.id else (old,))]
        changed = step.model_copy(update={"nodes": tuple(nodes)})
        # What is spelt like another value is that value again.
        return dead_code(cse(self.graph.model_copy(update={"step": changed})))

    def _terms(self, id: int, before: _Term, through: set[int]) -> list[_Term]:
        node = self.nodes[id]
        if node.type.is_scalar:
            return [replace(before, over=(*before.over, id))]
        if not self._is_linear(node) or (id not in through and self.uses[id] > 1):
            return [replace(before, field=id)]
        x, y = node.inputs
        match node.op:
            case "add":
                return self._terms(x, before, through) + self._terms(y, before, through)
            case "div":
                return self._terms(x, replace(before, under=(*before.under, y)), through)
            case _:
                scalar, field = (x, y) if self.nodes[x].type.is_scalar else (y, x)
                return self._terms(field, replace(before, over=(*before.over, scalar)), through)

    def _is_linear(self, node: Node) -> bool:
        """Whether a value is a sum, or a field times or over a scalar."""
        if not (node.type.is_like_weights and node.type.dtype == "float"):
            return False
        match node.op:
            case "add":
                return True
            case "mul":
                return any(self._is_number(i) for i in node.inputs)
            case "div":
                return self._is_number(node.inputs[1])
            case _:
                return False

    def _is_number(self, id: int) -> bool:
        return self.nodes[id].type.is_scalar and self.nodes[id].type.dtype == "float"


class _Sum:
    """The nodes of a sum in the place of a value, as they are made."""

    def __init__(self, root: Node, first: int) -> None:
        self.root = root
        self.first = first
        self.made: list[Node] = []

    def scaled(self, term: _Term) -> int:
        """A term as a field."""
        assert term.field is not None
        if not term.over and not term.under:
            return term.field
        return self.field("mul", self.product(term), term.field)

    def product(self, term: _Term) -> int:
        """The scalars of a term as one."""
        total, *others = term.over or (self._node("const", (), LITERAL, (("value", 1.0),)),)
        for id in others:
            total = self._node("mul", (total, id), SCALAR)
        for id in term.under:
            total = self._node("div", (total, id), SCALAR)
        return total

    def field(self, op: str, *inputs: int) -> int:
        """An operation on fields of the root's type."""
        return self._node(op, inputs, self.root.type)

    def ending_as(self, root: Node) -> list[Node]:
        """The nodes, the last of them with what names the root."""
        named = {"id": root.id, "name": root.name}
        return [*self.made[:-1], self.made[-1].model_copy(update=named)]

    def _node(
        self, op: str, inputs: tuple[int, ...], type: Type, attributes: Attributes = ()
    ) -> int:
        id, stage = self.first + len(self.made), self.root.stage
        self.made.append(
            Node(id=id, op=op, inputs=inputs, type=type, attributes=attributes, stage=stage)
        )
        return id
