"""Degrees: with which power of a factor each value of a step grows.

What is asked is: if these values, or this hyperparameter, were `s` times as large, would that value
be `s^d` times as large? A sum of terms of several degrees lies between them, so a degree is a
range; where its ends meet, the value is homogeneous. All else stays as it is: the weights, and what
the objective answers, do not follow within a step.

A constant that is small beside what it is added to, such as the eps of a denominator, is left out
of account: `sqrt(nu) + 1e-8` has the degree of the root. `SMALL` says what is small.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from ..lowering.draft import Draft, DraftNode
from ..ops import OPS
from .flow import Flow
from .interval import Intervals

SMALL = 1e-5
"""A constant up to this is taken for an eps: it guards against 0 and means nothing else."""


class Degree(NamedTuple):
    """The powers from `low` to `high`. A value that is 0 has every degree, and so none."""

    low: float
    high: float

    @property
    def exact(self) -> float | None:
        """The degree of a value that is homogeneous, and not 0."""
        return self.low if self.low == self.high else None

    def times(self, factor: float) -> "Degree":
        """The degree of a power, or a root."""
        if self in (NOTHING, UNKNOWN):
            return self
        return Degree(*sorted((self.low * factor, self.high * factor)))


FIXED = Degree(0.0, 0.0)
"""What does not depend on the factor."""

NOTHING = Degree(math.inf, -math.inf)
"""What is 0."""

UNKNOWN = Degree(-math.inf, math.inf)
"""What may depend on the factor in any way."""


class Degrees(Flow[Degree]):
    """The degree of every value of a step, by the id of its node.

    The factor is on the values `seeds` and the hyperparameters `parameters`. Without `memory` it
    may be another in each step, so that what a state keeps of it has no degree.
    """

    unknown = UNKNOWN

    def __init__(
        self,
        draft: Draft,
        intervals: Intervals,
        seeds: Collection[int] = (),
        parameters: Collection[str] = (),
        memory: bool = True,
    ) -> None:
        super().__init__()
        self._intervals = intervals
        self._seeds = seeds
        self._parameters = parameters
        self._memory = memory
        self.follow(draft)

    def either(self, one: Degree, other: Degree) -> Degree:
        """The degrees of both."""
        return hull(one, other)

    def chosen(self, condition: Degree, yes: Degree, no: Degree) -> Degree:
        """One of two, by a condition that may depend on the factor."""
        return _where(condition, yes, no)

    def kept(self, old: Degree, new: Degree, round: int) -> Degree:
        """Both, or nothing that is known, where the factor is another in each step."""
        both = hull(old, new)
        return both if self._memory or both in (FIXED, NOTHING) else UNKNOWN

    def read(self, node: DraftNode, known: Degree) -> Degree:
        """The degree of what a choice or loop gives, which may be a seed."""
        return Degree(1.0, 1.0) if node.id in self._seeds else known

    def may_stop(self, condition: Degree) -> bool:
        """Whether a loop takes as many rounds for every factor."""
        return condition in (FIXED, NOTHING)

    def index(self) -> Degree:
        """The number of a round is what it is."""
        return FIXED

    def value(self, node: DraftNode, inputs: Sequence[Degree]) -> Degree:
        """The degree of a node."""
        if node.id in self._seeds:
            return Degree(1.0, 1.0)
        match OPS[node.op].op_class:
            case "leaf":
                return self._leaf(node)
            case "elementwise":
                return self._elementwise(node, inputs)
            case "reduction":
                return _sum(inputs) if node.op == "dot" else inputs[0]
            case "shape":
                return FIXED if node.op == "extent" else inputs[0]
            case "matrix":
                return self._matrix(node, inputs)
            case "local":
                return hull(*inputs)
            case "fill":
                return _fill(node, inputs)
            case "random":
                return inputs[0] if node.op == "round_stochastic" else FIXED
            case "spectral":
                for region in node.regions:
                    self.region(region, [UNKNOWN])
                return UNKNOWN
            case "oracle" if node.op == "per_example_mean":
                return self.region(node.regions[0], inputs)[0]
            case "history" | "oracle" | "opaque" | "control":
                return FIXED if _are_fixed(inputs) else UNKNOWN

    def _leaf(self, node: DraftNode) -> Degree:
        match node.op:
            case "parameter" if node["name"] in self._parameters:
                return Degree(1.0, 1.0)
            case "const" | "parameter":
                return NOTHING if self._is_zero(node) else FIXED
            case "input":
                return FIXED
            case _:
                # Of a tuple that a transformation of optax gives.
                return self[node.inputs[0]] if node.inputs else UNKNOWN

    def _is_zero(self, node: DraftNode) -> bool:
        return self._intervals[node.id].point == 0

    def _elementwise(self, node: DraftNode, inputs: Sequence[Degree]) -> Degree:
        if self._is_zero(node):
            return NOTHING
        if node.op in ("add", "max"):
            for eps, other in ((0, 1), (1, 0)):
                if self._guards(node.inputs[eps], node.inputs[other]):
                    return inputs[other]
        rule = _RULES.get(node.op)
        if node.op == "pow":
            exponent = self._intervals[node.inputs[1]].point
            known = inputs[0].times(exponent) if exponent is not None else UNKNOWN
        else:
            known = rule(*inputs) if rule else UNKNOWN
        return FIXED if known == UNKNOWN and _are_fixed(inputs) else known

    def _matrix(self, node: DraftNode, inputs: Sequence[Degree]) -> Degree:
        """The degree of a matrix; of a factor, hulled with that of what is there otherwise."""
        if self._is_zero(node):
            return NOTHING
        x, *more = inputs
        otherwise = more.pop() if "otherwise" in dict(node.attributes) else NOTHING
        match node.op:
            case "filled" | "eye" | "arange":
                return FIXED
            case "matmul" | "matvec":
                return _sum(inputs)
            case "orthonormal" | "polar" | "eigenbasis" | "argsort":
                known = _sign(x)
            case "inverse_root" | "matrix_power":
                power = self._intervals[node.inputs[1]].point
                known = UNKNOWN
                if power:
                    known = x.times(-1 / power if node.op == "inverse_root" else power)
            case "cholesky":
                known = x.times(0.5)
            case "solve":
                known = _quotient(more[0], x)
            case "take" if not _are_fixed(more):
                known = UNKNOWN
            case _:
                known = x
        known = hull(known, otherwise)
        return FIXED if known == UNKNOWN and _are_fixed(inputs) else known

    def _guards(self, eps: int, other: int) -> bool:
        """Whether one value is a constant that is small beside another, which grows."""
        value = self._intervals[eps]
        small = value.low >= 0 and value.high <= SMALL and self[eps] in (FIXED, NOTHING)
        return small and self[other] != FIXED and self._intervals[other].point != 0


def hull(one: Degree, other: Degree) -> Degree:
    """The degree of what is one or the other, or the sum of both."""
    return Degree(min(one.low, other.low), max(one.high, other.high))


def _are_fixed(inputs: Sequence[Degree]) -> bool:
    return all(x in (FIXED, NOTHING) for x in inputs)


# ---- ops


def _fill(node: DraftNode, inputs: Sequence[Degree]) -> Degree:
    match node.op:
        case "zeros":
            return NOTHING
        case "ones" | "nans":
            return FIXED
        case "full":
            return inputs[1]
        case _:
            return inputs[0]


def _sum(inputs: Sequence[Degree]) -> Degree:
    """The degree of a product."""
    if NOTHING in inputs:
        return NOTHING
    if UNKNOWN in inputs:
        return UNKNOWN
    return Degree(sum(x.low for x in inputs), sum(x.high for x in inputs))


def _quotient(x: Degree, y: Degree) -> Degree:
    # A state that is 0 so far is no reason to know nothing of what is divided by it later.
    return _sum((x, y.times(-1)))


def _chosen(yes: Degree, no: Degree) -> Degree:
    """One of two, by a condition that depends on the factor: known where both are the same."""
    return yes if yes == no else UNKNOWN


def _compared(x: Degree, y: Degree) -> Degree:
    """A comparison does not change where both sides grow alike, or one is 0."""
    both = {x, y} - {NOTHING}
    return FIXED if all(side.exact is not None for side in both) and len(both) < 2 else UNKNOWN


def _where(condition: Degree, yes: Degree, no: Degree) -> Degree:
    return hull(yes, no) if condition in (FIXED, NOTHING) else _chosen(yes, no)


def _sign(x: Degree) -> Degree:
    return FIXED if x.exact is not None else UNKNOWN


_RULES: Mapping[str, Callable[..., Degree]] = {
    "add": hull,
    "sub": hull,
    "mul": lambda *inputs: _sum(inputs),
    "div": _quotient,
    "neg": lambda x: x,
    "min": hull,
    "max": hull,
    "clamp": lambda x, low, high: hull(x, hull(low, high)),
    "abs": lambda x: x,
    "float": lambda x: x,
    "sign": _sign,
    "square": lambda x: x.times(2),
    "sqrt": lambda x: x.times(0.5),
    "arctan2": lambda x, y: FIXED if x == y and x.exact is not None else UNKNOWN,
    "lt": _compared,
    "le": _compared,
    "gt": _compared,
    "ge": _compared,
    "eq": _compared,
    "ne": _compared,
    "isfinite": _sign,
    "and": lambda *_: UNKNOWN,
    "where": _where,
}
