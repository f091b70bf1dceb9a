"""Two sides on the same tapes: whether they go the same way, and where they part.

What rounding may do is measured and not assumed. The first side is followed a second time on the
tape with each number off by one unit in its last place, or not, and the distance of the two is
what one rounding of everything is worth, whatever the program divides by. A step rounds as often
as it has values, so the sides may be this distance times the number of their values apart, and
`MARGIN` times that, since rounding may take a worse direction than the one that was tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .side import Side, Values
from .tapes import ULP, Array, Tape
from .trajectory import Moment

MARGIN = 4

LARGEST = 1e-8
"""Where rounding may be worth this part of the weights or more, a tape shows nothing."""


@dataclass(frozen=True)
class Setting:
    """The values that both sides are followed with, and what they are called in messages."""

    a: Values
    b: Values
    words: str


@dataclass(frozen=True, eq=False)
class Parting:
    """The first step at which the two sides are apart, and the tensor where they are most.

    `step` counts from 1. `moved` are the largest changes of one number of that tensor and `apart`
    the largest distance; `evaluation` is whether it concerns the weights to evaluate with alone.
    """

    tape: Tape
    setting: Setting
    step: int
    place: int
    index: tuple[int, ...]
    a: float
    b: float
    apart: float
    bound: float
    evaluation: bool = False

    @property
    def path(self) -> str:
        """The tensor's path."""
        return self.tape.paths[self.place]

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(np.shape(self.tape.weights[self.place]))


@dataclass(frozen=True)
class Together:
    """Two sides that stayed together: how long, how far apart at most, and what was allowed.

    `reason` says why the tape was not followed to its end, if it was not.
    """

    steps: int
    apart: float
    bound: float
    reason: str = ""


def compare(a: Side, b: Side, tape: Tape, setting: Setting) -> Parting | Together:
    """Both sides on one tape. Raises UnfitError where one of them cannot be followed."""
    ours = a.follow(tape, setting.a).moments
    theirs = b.follow(tape, setting.b).moments
    nudged = a.follow(tape.nudged(1), setting.a).moments
    size = max(a.size, b.size)
    both = a.evaluates and b.evaluates
    scale, worth, apart, bound = _largest(tape.weights), 0.0, 0.0, 0.0
    other: Parting | None = None
    for step, (one, two, near) in enumerate(zip(ours, theirs, nudged, strict=True), 1):
        pairs = [(one.weights, two.weights)] + [(one.evaluation, two.evaluation)] * both
        if not _finite(one) and not _finite(two):
            return other or Together(step - 1, apart, bound, f"not finite from step {step} on")
        if not _finite(one) or not _finite(two):
            return _parting(tape, setting, step, one, two, bound, False)
        scale = max(scale, _largest(one.weights))
        if _finite(near):
            worth = max(worth, _distance(one.weights, near.weights))
        bound = MARGIN * size * (worth + ULP * scale)
        if bound > LARGEST * scale:
            reason = f"rounding may be worth {bound:.0e} from step {step} on"
            return other or Together(step - 1, apart, bound, reason)
        for number, (x, y) in enumerate(pairs):
            distance = _distance(x, y)
            if distance > bound:
                found = _parting(tape, setting, step, one, two, bound, bool(number))
                if not number:
                    return found
                other = other or found
            elif not number:
                apart = max(apart, distance)
    return other or Together(len(ours), apart, bound)


def before(tape: Tape, moments: Sequence[Moment], step: int, evaluation: bool) -> Sequence[Array]:
    """The weights before a step, counted from 1."""
    if step == 1:
        return tape.weights
    earlier = moments[step - 2]
    return earlier.evaluation if evaluation else earlier.weights


def _parting(
    tape: Tape,
    setting: Setting,
    step: int,
    one: Moment,
    two: Moment,
    bound: float,
    evaluation: bool,
) -> Parting:
    ours = one.evaluation if evaluation else one.weights
    theirs = two.evaluation if evaluation else two.weights
    # What is not finite on one side alone is farther apart than all else.
    gaps = [
        np.where(np.isfinite(x) & np.isfinite(y), np.abs(x - y), np.where(x == y, 0, np.inf))
        for x, y in zip(ours, theirs, strict=True)
    ]
    place = int(np.argmax([gap.max() for gap in gaps]))
    index = tuple(int(i) for i in np.unravel_index(np.argmax(gaps[place]), gaps[place].shape))
    a, b = float(ours[place][index]), float(theirs[place][index])
    apart = float(gaps[place].max())
    return Parting(tape, setting, step, place, index, a, b, apart, bound, evaluation)


def _finite(moment: Moment) -> bool:
    return all(bool(np.isfinite(x).all()) for x in moment.weights)


def _largest(tensors: Sequence[Any]) -> float:
    return max(float(np.abs(x).max()) for x in tensors)


def _distance(one: Sequence[Any], other: Sequence[Any]) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(one, other, strict=True))
