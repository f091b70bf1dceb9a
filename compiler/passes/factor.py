"""Take scalar factors out of fields: they are multiplied once, and not for each element.

Adam's `lr * (mu / c1 / (sqrt(nu / c2) + eps))` becomes `rate * (mu / (sqrt(nu) + floor))`, with
`rate` and `floor` worked out once for a step: two operations for each element less, and two scalars
less that each kernel reads.

Needs: equal values merged. Guarantees: fewer operations on fields wherever it changes anything;
every state, and every other value that is used twice or not by arithmetic, is made as before up to
rounding: each term of a sum stays within 16 ulps, unless a product of its scalar factors leaves the
range of floats. Under a root or across a sum goes only what is known to be positive from literals
and the ranges of hyperparameters.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..graph import Graph, Node, Region, index, reads
from ..growth import PRODUCT, QUOTIENT, SUM
from ..ops import OPS
from ..types import SCALAR, Type
from .positive import Signs
from .rewrite import over_regions, with_regions

_UNARY = (0.5, 1)
"""The powers of what a factor leaves as it goes through ops of one field.

Out of squares it does not: `g^2` of `(k * g)^2` would be stored where something else has it too.
"""

_DEEPEST = 100
"""A formula is followed by recursion, and no deeper than this; what lies below stays as it is."""


@dataclass(frozen=True, slots=True)
class _Factor:
    """A scalar: the product of some over the product of others, none is 1."""

    over: tuple[int, ...] = ()
    under: tuple[int, ...] = ()

    def __mul__(self, other: "_Factor") -> "_Factor":
        return _Factor(self.over + other.over, self.under + other.under)

    def without(self, common: "_Factor") -> "_Factor":
        """The factor that is left when one that is part of it is taken out."""
        over = Counter(self.over) - Counter(common.over)
        under = Counter(self.under) - Counter(common.under)
        return _Factor(tuple(over.elements()), tuple(under.elements()))

    def inverse(self) -> "_Factor":
        return _Factor(self.under, self.over)


_ONE = _Factor()


@dataclass(frozen=True, slots=True)
class _Term:
    """A factor times a field. `stage` multiplied first, if one did."""

    factor: _Factor
    field: int
    stage: int | None = None

    def times(self, factor: _Factor, stage: int) -> "_Term":
        return _Term(factor * self.factor, self.field, stage if self.stage is None else self.stage)


def factor(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    factoring = _Factoring(nodes, reads(graph.regions()), Signs(graph))
    return over_regions(graph, factoring.region)


class _Factoring:
    def __init__(self, nodes: Mapping[int, Node], uses: "Counter[int]", signs: Signs) -> None:
        self.nodes = dict(nodes)
        self.uses = uses
        self.signs = signs
        self.next = max(self.nodes, default=0) + 1

    def region(self, region: Region) -> Region:
        """The region with every root in it rewritten where that makes fewer operations."""
        depths: dict[int, int] = {}
        inner: set[int] = set()
        for node in region.nodes:
            if self._is_arithmetic(node):
                alone = [i for i in node.inputs if i in depths and self.uses[i] == 1]
                within = [i for i in alone if depths[i] < _DEEPEST]
                inner.update(within)
                depths[node.id] = 1 + max((depths[i] for i in within), default=0)
        made: list[Node] = []
        for node in region.nodes:
            rewritten = None
            if node.id not in inner and self._is_arithmetic(node):
                rewritten = _Root(self, node, inner).rewritten()
            if rewritten is None:
                rewritten = [with_regions(node, [self.region(r) for r in node.regions])]
            made += rewritten
        return region.model_copy(update={"nodes": tuple(made)})

    def _is_arithmetic(self, node: Node) -> bool:
        return (
            OPS[node.op].op_class == "elementwise"
            and node.type.is_field
            and node.type.dtype == "float"
            and (OPS[node.op].growth in (SUM, PRODUCT, QUOTIENT) or _power(node) in _UNARY)
        )


def _power(node: Node) -> float | None:
    """The power of a factor of the one field that a node is made of; None for other nodes."""
    growth = OPS[node.op].growth
    if growth is None or len(node.inputs) > 1:
        return None
    power = growth.power(0)
    return None if isinstance(power, str) else power


class _Root:
    """One value that is needed as it is, and the arithmetic that is for it alone."""

    def __init__(self, factoring: _Factoring, node: Node, inner: set[int]) -> None:
        self.factoring = factoring
        self.known = dict(factoring.nodes)
        self.root = node
        self.inner = inner
        self.replaced = 0
        self.made: list[Node] = []
        self.scalars: dict[tuple[str, tuple[int, ...]], int] = {}

    def rewritten(self) -> list[Node] | None:
        """The nodes in place of the root, which keeps its id; None where there is no gain."""
        last = self._whole(self.root.id)
        if self.factoring.uses[self.root.id] > 1:
            last = self._ending_in_a_quotient(last)
        needed = {last}
        for node in reversed(self.made):
            if node.id in needed:
                needed.update(node.inputs)
        kept = [node for node in self.made if node.id in needed]
        if sum(node.type.is_field for node in kept) >= self.replaced:
            return None
        self.factoring.next = self.made[-1].id + 1
        named = {"id": self.root.id, "name": self.root.name, "stage": self.root.stage}
        made = [n.model_copy(update=named) if n.id == last else n for n in kept]
        self.factoring.nodes.update((node.id, node) for node in made)
        return made

    def _ending_in_a_quotient(self, last: int) -> int:
        """`(factor * x) / y` for `factor * (x / y)`, where the value is used more than once.

        XLA does cheap operations again for each use, so that a product at the end would leave it
        the quotient to keep as well.
        """
        node = self.known[last]
        quotient = self.known[node.inputs[-1]] if node.op == "mul" else node
        own = quotient.op == "div" and quotient in self.made and quotient is not node
        if not own or self._flat(quotient.inputs[0]):
            return last
        above = self._node("mul", (node.inputs[0], quotient.inputs[0]), quotient.type)
        return self._field(quotient, above, quotient.inputs[1])

    # ---- a value as a sum of terms

    def _terms(self, id: int) -> list[_Term]:
        node = self.known[id]
        if id != self.root.id and id not in self.inner:
            return [_Term(_ONE, id)]
        self.replaced += 1
        if len(node.inputs) == 1:
            return self._unary(node)
        x, y = node.inputs
        match node.op, self._is_factor(x), self._is_factor(y):
            case "mul", True, _:
                return [t.times(_Factor(over=(x,)), node.stage) for t in self._terms(y)]
            case "mul", _, True:
                return [t.times(_Factor(over=(y,)), node.stage) for t in self._terms(x)]
            case "div", _, True:
                return [t.times(_Factor(under=(y,)), node.stage) for t in self._terms(x)]
            case "sub", _, _:
                # What cancels here might no longer do so with other factors before it.
                sides = (i if self._flat(i) else self._whole(i) for i in (x, y))
                return [_Term(_ONE, self._field(node, *sides))]
            case "add", _, _:
                return self._sum(node)
            case _:
                return [self._product(node)]

    def _is_factor(self, id: int) -> bool:
        return self.known[id].type.is_scalar and self.known[id].type.dtype == "float"

    def _unary(self, node: Node) -> list[_Term]:
        """A value of one other, to the power that the op table states."""
        term = self._single(node.inputs[0])
        growth, power = OPS[node.op].growth, _power(node)
        signed = growth is not None and growth.signed
        if term.factor == _ONE or not (signed or self._is_positive(term.factor)):
            return [_Term(_ONE, self._field(node, self._joined([term], node.type)))]
        factor = term.factor
        if power != 1:
            over, under = (
                tuple(self._scalar(node.op, i) for i in scalars)
                for scalars in (factor.over, factor.under)
            )
            factor = _Factor(over, under)
        return [_Term(factor, self._field(node, term.field))]

    def _sum(self, node: Node) -> list[_Term]:
        x, y = node.inputs
        if not (self._flat(x) or self._flat(y)):
            return self._terms(x) + self._terms(y)
        alone, rest = (x, y) if self._flat(x) else (y, x)
        term = self._single(rest)
        if term.factor == _ONE or not (self._is_factor(alone) and self._is_positive(term.factor)):
            term = _Term(_ONE, self._joined([term], node.type))
        else:
            alone = self._product_of(term.factor.inverse(), alone)
        sides = (alone, term.field) if self._flat(x) else (term.field, alone)
        return [_Term(term.factor, self._field(node, *sides))]

    def _flat(self, id: int) -> bool:
        return self.known[id].type.is_scalar

    def _product(self, node: Node) -> _Term:
        x, y = (_Term(_ONE, i) if self._flat(i) else self._single(i) for i in node.inputs)
        made = self._field(node, x.field, y.field)
        return _Term(x.factor * (y.factor if node.op == "mul" else y.factor.inverse()), made)

    def _single(self, id: int) -> _Term:
        """A value as one term, its factor taken out where it has one."""
        terms = self._terms(id)
        return terms[0] if len(terms) == 1 else _Term(_ONE, self._whole_of(terms, id))

    def _whole(self, id: int) -> int:
        return self._whole_of(self._terms(id), id)

    def _whole_of(self, terms: list[_Term], id: int) -> int:
        return self._joined(terms, self.known[id].type)

    # ---- terms as nodes

    def _joined(self, terms: list[_Term], type: Type) -> int:
        """The sum of the terms, multiplied out or with a factor before it, whichever is less."""
        common = self._common(terms)
        rest = [replace(term, factor=term.factor.without(common)) for term in terms]
        apart = sum(term.factor != _ONE for term in terms)
        if len(terms) > 1 and common != _ONE and 1 + sum(t.factor != _ONE for t in rest) <= apart:
            return self._scaled(common, self._joined(rest, type), type)
        # Of several terms each shows the line that it came from, a single one its last.
        stages = [None] if len(terms) == 1 else [term.stage for term in terms]
        total, *others = (
            self._scaled(term.factor, term.field, type, stage)
            for term, stage in zip(terms, stages, strict=True)
        )
        for other in others:
            total = self._node("add", (total, other), type)
        return total

    def _common(self, terms: list[_Term]) -> _Factor:
        over, under = Counter(terms[0].factor.over), Counter(terms[0].factor.under)
        for term in terms[1:]:
            over &= Counter(term.factor.over)
            under &= Counter(term.factor.under)
        return _Factor(tuple(over.elements()), tuple(under.elements()))

    def _scaled(self, factor: _Factor, field: int, type: Type, stage: int | None = None) -> int:
        if factor == _ONE:
            return field
        if not factor.over:
            return self._node("div", (field, self._product_of(factor.inverse())), type, stage)
        return self._node("mul", (self._product_of(factor), field), type, stage)

    def _product_of(self, factor: _Factor, *more: int) -> int:
        """A factor as one scalar, times one more; named where its formula would be no name."""
        over = (*more, *factor.over)
        total = over[0]
        for id in over[1:]:
            total = self._scalar("mul", total, id)
        for id in factor.under:
            total = self._scalar("div", total, id)
        if more and self.known[more[0]].name:
            self._call(total, f"scaled_{self.known[more[0]].name}")
        elif len(over) + len(factor.under) > 2:
            self._call(total, "factor")
        return total

    def _call(self, id: int, name: str) -> None:
        self.known[id] = self.known[id].model_copy(update={"name": name})
        self.made = [self.known[node.id] for node in self.made]

    def _scalar(self, op: str, *inputs: int) -> int:
        key = (op, inputs)
        if key not in self.scalars:
            self.scalars[key] = self._node(op, inputs, SCALAR)
        return self.scalars[key]

    def _field(self, like: Node, *inputs: int) -> int:
        return self._node(like.op, inputs, like.type, like.stage)

    def _node(self, op: str, inputs: tuple[int, ...], type: Type, stage: int | None = None) -> int:
        id = self.factoring.next + len(self.made)
        stage = self.root.stage if stage is None else stage
        node = Node(id=id, op=op, inputs=inputs, type=type, stage=stage)
        self.made.append(node)
        self.known[id] = node
        return id

    def _is_positive(self, factor: _Factor) -> bool:
        return all(
            self.factoring.signs.is_positive(i, self.known) for i in (*factor.over, *factor.under)
        )
