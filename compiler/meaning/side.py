"""The two sides of a comparison: what can be followed on a tape, and values to do it with."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from ..environment import Extern
from ..graph import Graph, walk
from ..ops import OPS, draws
from ..records import Hyperparameter, Scalar
from .tapes import Tape
from .trajectory import Trajectory, follow

Values = Mapping[str, Scalar]


class Side(Protocol):
    """An optimizer that can be followed."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """What may be varied, with defaults and ranges."""

    @property
    def size(self) -> int:
        """How many values a step works out, each of them rounded once."""

    @property
    def evaluates(self) -> bool:
        """Whether the trajectory has weights to evaluate with that mean something."""

    def follow(
        self, tape: Tape, values: Values, *, steps: int | None = None, keep: bool = False
    ) -> Trajectory:
        """The trajectory on a tape. Raises UnfitError where there is none."""

    def spec(self, values: Values) -> "tuple[Program, Values] | None":
        """A spec that should be the same as this side with these values, and values for it."""


@dataclass(frozen=True, eq=False)
class Program:
    """The side that is a spec: its graph as it was written, before any pass."""

    name: str
    graph: Graph
    extern: Extern | None = field(default=None, repr=False)

    @property
    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """Those of the graph."""
        return self.graph.hyperparameters

    @cached_property
    def size(self) -> int:
        """The nodes of a step."""
        return sum(1 for _ in walk(self.graph.step))

    @property
    def evaluates(self) -> bool:
        """Always: without an `average` they are the weights."""
        return True

    def follow(
        self, tape: Tape, values: Values, *, steps: int | None = None, keep: bool = False
    ) -> Trajectory:
        """By the reference interpreter."""
        return follow(self.graph, tape, values, steps=steps, extern=self.extern, keep=keep)

    def spec(self, values: Values) -> "tuple[Program, Values]":
        """Itself."""
        return self, values

    @cached_property
    def draws(self) -> bool:
        """Whether it has random fields; what rounds at random does not count."""
        regions = self.graph.regions()
        ops = {node.op for region in regions for node in walk(region)} - {"round_stochastic"}
        return any(draws(OPS[op]) for op in ops)


def drawn(parameters: Sequence[Hyperparameter], seed: int) -> dict[str, Scalar]:
    """Values of hyperparameters inside their ranges, each its own whatever the others are.

    Without an upper end they stay within some ten times the default, or below 1 where that is
    smaller; whole numbers stay small, so that what happens after a number of steps does happen.
    Texts, and what has no default, are left out.
    """
    found: dict[str, Scalar] = {}
    for each in parameters:
        share = random.Random(f"optc value {seed} {each.name}").random()
        if each.default is None or each.kind == "str":
            continue
        if each.kind == "bool":
            found[each.name] = share < 0.5
        elif each.kind == "int":
            found[each.name] = _whole(each, share)
        else:
            found[each.name] = _real(each, share)
    return found


def shared(one: Hyperparameter, other: Hyperparameter) -> Hyperparameter | None:
    """A hyperparameter that has the ranges of both and the default of the first.

    None where they do not overlap, or are of two kinds.
    """
    if one.kind != other.kind:
        return None
    low, low_open = max(_end(one.low, one.low_open, -1), _end(other.low, other.low_open, -1))
    high, high_open = min(_end(one.high, one.high_open, 1), _end(other.high, other.high_open, 1))
    if low > high or (low == high and (low_open or high_open)):
        return None
    return Hyperparameter(
        one.name,
        one.default,
        low if math.isfinite(low) else None,
        high if math.isfinite(high) else None,
        bool(low_open),
        bool(high_open),
        one.kind,
    )


def admits(parameter: Hyperparameter, value: Scalar) -> bool:
    """Whether a value lies in the range, and is of the kind."""
    if parameter.kind in ("str", "bool"):
        return isinstance(value, str if parameter.kind == "str" else bool)
    if isinstance(value, str | bool) or not math.isfinite(value):
        return False
    if parameter.kind == "int" and value != int(value):
        return False
    above = parameter.low is None or value > parameter.low
    below = parameter.high is None or value < parameter.high
    at_low = value == parameter.low and not parameter.low_open
    at_high = value == parameter.high and not parameter.high_open
    return (above or at_low) and (below or at_high)


def _end(end: float | None, is_open: bool, sign: int) -> tuple[float, int]:
    """An end of a range so that the larger low one, or the smaller high one, is the narrower."""
    return (sign * math.inf, 0) if end is None else (end, -sign if is_open else 0)


def _whole(parameter: Hyperparameter, share: float) -> int:
    default = int(parameter.default or 0)
    low = max(int(parameter.low) if parameter.low is not None else min(default, 0), -8)
    low += parameter.low_open
    high = int(parameter.high) - parameter.high_open if parameter.high is not None else low + 7
    return low + int(share * (max(high, low) - low + 1))


def _real(parameter: Hyperparameter, share: float) -> float:
    default = float(parameter.default or 0.0)
    low, high = parameter.low, parameter.high
    if low is not None and high is not None:
        return low + (high - low) * (0.1 + 0.8 * share)
    distance = abs(default - (low if low is not None else high if high is not None else 0.0))
    # Small defaults, as of eps and rates, are moved up to where they have an effect.
    reach = (0.5 + share) * distance if distance >= 1 else 0.05 * 16.0**share
    if low is None and high is not None:
        return high - reach
    return (low if low is not None else default) + reach
