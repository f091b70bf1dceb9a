"""How often a step meets conditions on the count of steps: one in n meets `(t - 1) % n == 0`.

Conditions inside each other speak of the same steps: every 12th is both a 4th and a 6th.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import TypeAlias

MOST = 10
"""Of how many conditions that are not met a share can be told: the work doubles with each."""


@dataclass(frozen=True, slots=True)
class Residue:
    """That `t` has the rest `rest` when it is divided by `period`."""

    period: int
    rest: int


Conditions: TypeAlias = tuple[tuple[Residue, bool], ...]
"""Conditions of which each is met, or is not where its bool is false."""


def share(conditions: Conditions) -> Fraction:
    """The share of all steps at which the conditions are so."""
    met = Residue(1, 0)
    for place, (condition, holds) in enumerate(conditions):
        if not holds:
            others = conditions[:place] + conditions[place + 1 :]
            return share(others) - share((*others, (condition, True)))
        both = _both(met, condition)
        if both is None:
            return Fraction(0)
        met = both
    return Fraction(1, met.period)


def _both(one: Residue, other: Residue) -> Residue | None:
    """That both are met (the Chinese remainder theorem); None where no number does."""
    common = gcd(one.period, other.period)
    apart = other.rest - one.rest
    if apart % common:
        return None
    left = other.period // common
    rounds = apart // common * pow(one.period // common, -1, left) % left
    return Residue(one.period * left, one.rest + one.period * rounds)
