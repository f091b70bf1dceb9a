"""When each tensor has its turn in `every n staggered`: a schedule of the shapes alone.

Tensors whose kept values have equal shapes are a class. The K tensors of a class, in the order of
the weights, are cut into chunks of ceil(K / n), which have their turns one after the other, from an
offset on. Classes choose their offsets by the cost of a whole chunk, the dearest first, and of
equals the one whose first tensor comes first: each takes the offset at which the sum of the squares
of all steps' costs is smallest, the first of equals. The cost of a tensor is the size of each kept
value times the length of its last axis, as for the products and factorisations of matrices.

`runtime.turns` has the same rule; neither imports the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

Shapes = tuple[tuple[int, ...], ...]
"""The shapes of what is kept for one tensor."""


@dataclass(frozen=True)
class Class:
    """Tensors of equal shapes: their places, the size of a chunk and the cost of one tensor."""

    places: tuple[int, ...]
    chunk: int
    cost: int

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """The places that have a turn together."""
        starts = range(0, len(self.places), self.chunk)
        return tuple(self.places[start : start + self.chunk] for start in starts)


def turns(shapes: Sequence[Shapes | None], period: int) -> list[int | None]:
    """The turn of each tensor, from 0: it has it at the steps `t` with `(t - 1) % period` equal.

    None where nothing is kept for a tensor.
    """
    found: list[int | None] = [None] * len(shapes)
    loads = [0] * period
    for each in classes(shapes, period):
        costs = [each.cost * len(chunk) for chunk in each.chunks]
        offset = min(range(period), key=lambda start: _added(loads, start, costs))
        for number, (chunk, cost) in enumerate(zip(each.chunks, costs, strict=True)):
            turn = (offset + number) % period
            loads[turn] += cost
            for place in chunk:
                found[place] = turn
    return found


def classes(shapes: Sequence[Shapes | None], period: int) -> list[Class]:
    """The classes of some tensors, in the order in which they choose."""
    members: dict[Shapes, list[int]] = {}
    for place, kept in enumerate(shapes):
        if kept is not None:
            members.setdefault(kept, []).append(place)
    found = [
        Class(tuple(places), -(-len(places) // period), sum(map(_cost, kept)))
        for kept, places in members.items()
    ]
    return sorted(found, key=lambda each: (-each.cost * each.chunk, each.places[0]))


def _cost(shape: tuple[int, ...]) -> int:
    return prod(shape) * (shape[-1] if shape else 1)


def _added(loads: Sequence[int], start: int, costs: Sequence[int]) -> int:
    """By how much the sum of the squares of all loads grows."""
    places = ((start + number) % len(loads) for number in range(len(costs)))
    return sum((2 * loads[place] + cost) * cost for place, cost in zip(places, costs, strict=True))
