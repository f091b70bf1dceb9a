"""Carry scalar factors into the uses of a value, where it would be stored for them otherwise.

`u = g + decay * w` that is asked for its norm and then subtracted as `eta * u` is wanted by two
kernels of which one waits for the other, so that XLA stores it. As `eta * g + eta_times_decay * w`
the second makes what it needs of gradient and weights: a tensor less is written and read. The same
holds for a state that ends in arithmetic with a scalar: what is asked of it is made of the old
state once more, which is copied for that. With the scalar at its first term it is not. And factors
leave reductions, in which each would be read as a tensor: `norm(2 * g)` is `2 * norm(g)`.

Needs: `factor` before, which finds the fewest operations. Guarantees: fewer tensors are written and
read by the model of `compiler.traffic`, or as many and fewer of them are kept; each term of a sum
stays within 16 ulps, unless a product of scalars leaves the range of floats. Factors go over sums
and never over differences, in which something may cancel. In a step of thousands of operations only
the first of these values are tried.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..graph import Graph, Node, index, reads
from ..ops import OPS
from ..records import Scalar
from ..traffic import Moved, moved
from ..types import SCALAR, Type, join
from .cse import cse
from .dead_code import dead_code
from .positive import Signs

Attributes = tuple[tuple[str, Scalar], ...]

LITERAL = replace(SCALAR, static=True)


@dataclass(frozen=True, slots=True)
class _Term:
    """A field times the scalars `over` divided by those `under`, or these alone."""

    field: int | None
    over: tuple[int, ...] = ()
    under: tuple[int, ...] = ()


_WORK = 50_000
"""Nodes that are looked at for all that is tried. A step of the library takes a fifth of it."""


def carry(graph: Graph) -> Graph:
    """See the module's docstring."""
    before = _moved(graph)
    tries = iter(range(_WORK // max(len(graph.step.nodes), 1)))
    while better := _better(graph, before, tries):
        graph, before = better
    return graph


def _moved(graph: Graph) -> tuple[Moved, ...]:
    """What moves for tensors of every sort."""
    ways = (True, False) if any(n.op == "merge" for n in graph.step.nodes) else (True,)
    return tuple(moved(graph, inside) for inside in ways)


def _better(
    graph: Graph, before: tuple[Moved, ...], tries: Iterator[int]
) -> tuple[Graph, tuple[Moved, ...]] | None:
    """The graph with one value spelt out, where this moves less; None where nothing does.

    Each that is looked at is one of the `tries`, and none is looked at without.
    """
    spelling = _Spelling(graph)
    written = frozenset().union(*(each.written for each in before))
    stored = frozenset().union(*(each.kept for each in before))
    for node in graph.step.nodes:
        changed = spelling.outside(node)
        kept = spelling.kept_in(node, stored)
        if kept or node.id in written:
            changed = spelling.out(node, kept)
        if changed is None:
            continue
        if next(tries, None) is None:
            return None
        if _less(now := _moved(changed), before):
            return changed, now
    return None


def _less(*both: tuple[Moved, ...]) -> bool:
    one, other = ((sum(t.tensors for t in x), sum(len(t.kept) for t in x)) for x in both)
    return one < other


class _Spelling:
    """Values of a step as sums of terms, each a scalar times a field."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.signs = Signs(graph)
        self.nodes = dict(index(graph))
        self.uses = reads([graph.step])

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
        made = _Product(node, self.nodes)
        numbers = [term for term in terms if term.field is None]
        total: int | None = None
        for term in (fields[0], *numbers, *fields[1:]):
            new = made.of(term)
            total = new if total is None else made.node("add", (total, new), node.type)
        return self._with(node, made.ending_as(node))

    def _with(self, node: Node, made: list[Node]) -> Graph:
        step = self.graph.step
        nodes = [new for old in step.nodes for new in (made if old.id == node.id else (old,))]
        changed = step.model_copy(update={"nodes": tuple(nodes)})
        # What is spelt like another value is that value again.
        return dead_code(cse(self.graph.model_copy(update={"step": changed})))

    def outside(self, node: Node) -> Graph | None:
        """The graph with the scalars outside that a reduction multiplies its fields by."""
        growth = OPS[node.op].growth
        if OPS[node.op].op_class != "reduction" or growth is None:
            return None
        factor, fields = _Term(None), []
        for place, id in enumerate(node.inputs):
            through = {id} if self._is_linear(self.nodes[id]) else set()
            terms = self._terms(id, factor, through)
            if growth.power(place) != 1 or len(terms) > 1 or terms[0].field is None:
                return None
            fields.append(terms[0].field)
            factor = replace(terms[0], field=None)
        scalars = (*factor.over, *factor.under)
        if not scalars or not all(self.nodes[i].type.is_scalar for i in scalars):
            return None
        signed = growth.signed or all(self.signs.is_positive(i, self.nodes) for i in scalars)
        if not signed and node.op != "norm":
            return None
        product = _Product(node, self.nodes)
        reduced = product.node(node.op, tuple(fields), node.type, node.attributes)
        op, scalar = ("mul", factor) if factor.over else ("div", _Term(None, factor.under))
        size = product.of(scalar)
        size = size if signed else product.node("abs", (size,), product.known[size].type)
        inputs = (size, reduced) if op == "mul" else (reduced, size)
        product.node(op, inputs, node.type)
        return self._with(node, product.ending_as(node))

    def _terms(self, id: int, before: _Term, through: set[int]) -> list[_Term]:
        node = self.nodes[id]
        if self._is_number(id):
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
                number, field = (x, y) if self._is_number(x) else (y, x)
                return self._terms(field, replace(before, over=(*before.over, number)), through)

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
        """Whether a value is one number for all of a tensor at least."""
        type = self.nodes[id].type
        uniform = type.is_scalar or (type.is_field and type.per == "tensor")
        return uniform and type.dtype == "float"


class _Product:
    """Nodes in the place of one, as they are made."""

    def __init__(self, root: Node, known: Mapping[int, Node]) -> None:
        self.root = root
        self.known = dict(known)
        self.first = max(known) + 1
        self.made: list[Node] = []

    def of(self, term: _Term) -> int:
        """A term as one value."""
        over = term.over
        if not over:
            if not term.under and term.field is not None:
                return term.field
            over = (self.node("const", (), LITERAL, (("value", 1.0),)),)
        total, *others = over
        for id in others:
            total = self._number("mul", total, id)
        for id in term.under:
            total = self._number("div", total, id)
        if term.field is None:
            return total
        return self.node("mul", (total, term.field), self.root.type)

    def _number(self, op: str, *inputs: int) -> int:
        types = tuple(self.known[i].type for i in inputs)
        return self.node(op, inputs, join(types, "float", self.root.type.domain))

    def node(
        self, op: str, inputs: tuple[int, ...], type: Type, attributes: Attributes = ()
    ) -> int:
        """One more, and its id."""
        id, stage = self.first + len(self.made), self.root.stage
        node = Node(id=id, op=op, inputs=inputs, type=type, attributes=attributes, stage=stage)
        self.made.append(node)
        self.known[id] = node
        return id

    def ending_as(self, root: Node) -> list[Node]:
        """The nodes, the last of them with what names the root."""
        named = {"id": root.id, "name": root.name}
        return [*self.made[:-1], self.made[-1].model_copy(update=named)]
