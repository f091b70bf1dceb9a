"""Degrees: with which power of a factor each value of a step grows.

What is asked is: if these values, or this hyperparameter, were `s` times as large, would that value
be `s^d` times as large? A sum of terms of several degrees lies between them, so a degree is a
range; where its ends meet, the value is homogeneous. All else stays as it is: the weights, and what
the objective answers, do not follow within a step.

A constant that is small beside what it is added to, such as the eps of a denominator, is left out
of account: `sqrt(nu) + 1e-8` has the degree of the root. `SMALL` says what is small.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from typing import NamedTuple

from ..growth import CHOICE, Growth
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
        return _grown(CHOICE, (condition, yes, no))

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
            case "spectral":
                for region in node.regions:
                    self.region(region, [UNKNOWN])
                return UNKNOWN
            case "oracle" if node.op == "per_example_mean":
                return self.region(node.regions[0], inputs)[0]
            case _:
                return self._of_row(node, inputs)

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

    def _of_row(self, node: DraftNode, inputs: Sequence[Degree]) -> Degree:
        """The degree of a node by its row of the op table.

        That of a factor is hulled with that of what is there otherwise.
        """
        if self._is_zero(node):
            return NOTHING
        if node.op in ("add", "max"):
            for eps, other in ((0, 1), (1, 0)):
                if self._guards(node.inputs[eps], node.inputs[other]):
                    return inputs[other]
        n = self._intervals[node.inputs[1]].point if len(inputs) > 1 else None
        row = OPS[node.op].growth
        growth = row and row.resolved(n)
        known = UNKNOWN if growth is None else _grown(growth, inputs)
        if "otherwise" in dict(node.attributes):
            known = hull(known, inputs[-1])
        return FIXED if known == UNKNOWN and _are_fixed(inputs) else known

    def _guards(self, eps: int, other: int) -> bool:
        """Whether one value is a constant that is small beside another, which grows."""
        value = self._intervals[eps]
        small = value.low >= 0 and value.high <= SMALL and self[eps] in (FIXED, NOTHING)
        return small and self[other] != FIXED and self._intervals[other].point != 0


def hull(one: Degree, other: Degree) -> Degree:
    """The degree of what is one or the other, or the sum of both."""
    return Degree(min(one.low, other.low), max(one.high, other.high))


def _are_fixed(inputs: Iterable[Degree]) -> bool:
    return all(x in (FIXED, NOTHING) for x in inputs)


def _grown(growth: Growth, inputs: Sequence[Degree]) -> Degree:
    """The degree of what grows so with its inputs."""
    pairs = [(x, growth.power(place)) for place, x in enumerate(inputs)]
    factors = [(x, power) for x, power in pairs if not isinstance(power, str)]
    decided = _are_fixed(x for x, power in pairs if power == "other")
    if not growth.alike:
        return _product([x.times(power) for x, power in factors]) if decided else UNKNOWN
    alike = {x for x, _ in factors}
    if not decided and len(alike) > 1:
        return UNKNOWN  # one of several, by a condition that depends on the factor
    if any(power == 0 for _, power in factors):
        return _compared(alike - {NOTHING})
    return reduce(hull, (x.times(power) for x, power in factors))


def _product(inputs: Sequence[Degree]) -> Degree:
    if NOTHING in inputs:
        return NOTHING
    if UNKNOWN in inputs:
        return UNKNOWN
    return Degree(sum(x.low for x in inputs), sum(x.high for x in inputs))


def _compared(sides: Collection[Degree]) -> Degree:
    """A comparison does not change where both sides grow alike, or one is 0."""
    return FIXED if all(x.exact is not None for x in sides) and len(sides) < 2 else UNKNOWN
