"""Formulas of what is known before a step runs: hyperparameters, and conditions on tensors."""

from collections.abc import Mapping, Sequence

from ..graph import Graph
from ..rearrange import rank
from ..records import Hyperparameter, Term
from .algebra import Algebra
from .operations import Operations
from .values import AT_MOST_ONE, BELOW_ONE, NONNEGATIVE, POSITIVE, Value

_WHOLE = ("ndim", "size", "rows", "cols")
_TEXTS = ("path", "dtype")


class Terms:
    """The terms of one graph; `parameters` take the place of some of its hyperparameters."""

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Term],
        known: Sequence[Hyperparameter],
        algebra: Algebra,
        operations: Operations,
    ) -> None:
        self._domains = graph.domains
        self._parameters = parameters
        self._algebra = algebra
        self._operations = operations
        own = (h for h in graph.hyperparameters if h.name not in parameters)
        self._declared: dict[str, list[Hyperparameter]] = {}
        for each in (*own, *known):
            self._declared.setdefault(each.name, []).append(each)
        self._masks: dict[int, Value] = {}

    def parameter(self, name: str, *, replaced: bool = True) -> Value:
        """A hyperparameter, or the term that stands for it."""
        if replaced and name in self._parameters:
            return self.formula(self._parameters[name], replaced=False)
        declared = self._declared.get(name, [])
        if any(each.kind == "bool" for each in declared):
            return self._algebra.condition("parameter", name)
        facts = 0
        for each in declared:
            facts |= _facts(each)
        return self._algebra.atom("parameter", name, facts=facts)

    def mask(self, domain: int) -> Value:
        """The condition that a tensor is in a domain."""
        if domain not in self._masks:
            found = self._domains[domain]
            outer = self._algebra.one if domain == 0 else self.mask(found.parent)
            view = found.view
            # Seen in a view, the tensors are the same: what it says of their rank is sure.
            if view is None or found.predicate != rank(view):
                arrangement = repr(view) if view else ""
                outer = self._algebra.mul(outer, self.formula(found.predicate, arrangement))
            self._masks[domain] = outer
        return self._masks[domain]

    def formula(self, term: Term, arrangement: str = "", *, replaced: bool = True) -> Value:
        """What a term is; in a domain with a view it asks of the arranged tensors."""
        if term.op == "literal":
            (value,) = term.arguments
            assert not isinstance(value, Term)
            return self._operations.literal(value)
        if term.op == "parameter":
            return self.parameter(str(term.arguments[0]), replaced=replaced)
        if term.op in _WHOLE:
            facts = NONNEGATIVE if term.op in ("ndim", "size") else POSITIVE
            return self._algebra.atom(term.op, arrangement, scalar=False, facts=facts)
        if term.op in _TEXTS:
            return self._algebra.atom(term.op, scalar=False)
        inputs = [self.formula(x, arrangement, replaced=replaced) for x in term.terms]
        if term.op == "matches":
            return self._algebra.condition("matches", of=inputs, scalar=False)
        if _is_whole(term) and term.op in ("le", "gt"):
            # Of whole numbers, x <= n is x < n + 1.
            inputs[1] = self._algebra.add(inputs[1], self._algebra.one)
            return self._operations.apply("lt" if term.op == "le" else "ge", *inputs)
        return self._operations.apply(term.op, *inputs)


def _is_whole(term: Term) -> bool:
    """Whether a comparison is of a whole number of a tensor with a literal."""
    left, *right = term.terms
    return (
        left.op in _WHOLE
        and len(right) == 1
        and right[0].op == "literal"
        and (type(right[0].arguments[0]) is int)
    )


def _facts(declared: Hyperparameter) -> int:
    low, high = declared.low, declared.high
    facts = 0
    if low is not None and low >= 0:
        facts |= POSITIVE if low > 0 or declared.low_open else NONNEGATIVE
    if high is not None and high <= 1:
        facts |= BELOW_ONE if high < 1 or declared.high_open else AT_MOST_ONE
    return facts
