"""Work that is staggered: each tensor has its turn at one of every `n` steps.

The turns are a schedule of shapes alone, made before the program runs: tensors whose kept values
have equal shapes are a class. The K tensors of a class, in the order of the weights, are cut into
chunks of ceil(K / n), which have their turns one after the other, from an offset on. Classes choose
their offsets by the cost of a whole chunk, the dearest first, and of equals the one whose first
tensor comes first: each takes the offset at which the sum of the squares of all steps' costs is
smallest, the first of equals. The cost of a tensor is the size of each kept value times the length
of its last axis, as for the products and factorisations of matrices.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import jax
from jax import lax

from .field import Field, Mask, cast
from .tree import Leaf, Tree

_Shapes: TypeAlias = tuple[tuple[int, ...], ...]
"""The shapes of what is kept for one tensor."""

_ALONE = jax.tree.structure(0)


def staggered(
    period: int,
    t: jax.Array | int,
    kept: Field | tuple[Field, ...],
    fresh: Callable[..., Any],
    *args: Any,
) -> Any:
    """What is kept, but `fresh(*args)` for the tensors that have their turn at step `t`.

    `fresh` is a function of fields, and works on each tensor alone: it is called with one tensor
    at a time of the fields and masks among `args`, and gives as many fields as are `kept`. A
    tensor that nothing is kept for has none. Raises ValueError where the period is below 1.
    """
    if period < 1:
        raise ValueError(f"the period of staggered work is {period}; it must be at least 1")
    fields = (kept,) if isinstance(kept, Field) else kept
    places = list(zip(*(field.tensors for field in fields), strict=True))
    turn = turns(tuple(None if x[0] is None else tuple(y.shape for y in x) for x in places), period)
    due = {each: (t - 1) % period == each for each in {*turn} if each is not None}
    work = _Work(fresh, args, fields[0].tree)
    made = [
        olds if each is None else work(place, due[each], olds)
        for place, (each, olds) in enumerate(zip(turn, places, strict=True))
    ]
    results = zip(*made, strict=True) if made else ((),) * len(fields)
    found = tuple(Field(x, field.tree) for x, field in zip(results, fields, strict=True))
    return found[0] if isinstance(kept, Field) else found


class _Work:
    """Staggered work on one tensor, traced once for tensors of equal shape, dtype and sets."""

    def __init__(self, fresh: Callable[..., Any], args: tuple[Any, ...], tree: Tree) -> None:
        self._fresh = fresh
        self._args = args
        self._leaves = tree.leaves
        self._jitted: dict[Any, Callable[..., Any]] = {}

    def __call__(self, place: int, due: jax.Array | bool, olds: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of one tensor after the step."""
        leaf = self._leaves[place]
        flags = tuple(arg.flags[place] for arg in self._args if isinstance(arg, Mask))
        key = leaf.shape, leaf.dtype, flags
        if key not in self._jitted:
            alone = Tree(_ALONE, (Leaf("", leaf.shape, leaf.dtype),))
            self._jitted[key] = jax.jit(self._one(alone, flags))
        tensors = [arg.tensors[place] for arg in self._args if isinstance(arg, Field)]
        return tuple(self._jitted[key](due, olds, tensors))

    def _one(self, alone: Tree, flags: tuple[bool, ...]) -> Callable[..., Any]:
        def work(due: jax.Array, olds: tuple[Any, ...], tensors: list[Any]) -> Any:
            own, here = iter(tensors), iter(flags)
            given = [self._told(arg, alone, own, here) for arg in self._args]

            def anew() -> tuple[Any, ...]:
                made = self._fresh(*given)
                news = (made,) if isinstance(made, Field) else made
                pairs = zip(news, olds, strict=True)
                return tuple(cast(new.tensors[0], old.dtype) for new, old in pairs)

            return lax.cond(due, anew, lambda: olds)

        return work

    def _told(self, arg: Any, alone: Tree, own: Any, here: Any) -> Any:
        match arg:
            case Field():
                return Field((next(own),), alone, arg.declared)
            case Mask():
                return Mask((next(here),))
            case _:
                return arg


@lru_cache
def turns(shapes: tuple[_Shapes | None, ...], period: int) -> tuple[int | None, ...]:
    """The turn of each tensor, from 0: it has it at the steps `t` with `(t - 1) % period` equal.

    None where nothing is kept for a tensor.
    """
    found: list[int | None] = [None] * len(shapes)
    loads = [0] * period
    for cost, chunks in _classes(shapes, period):
        costs = [cost * len(chunk) for chunk in chunks]
        offset = min(range(period), key=lambda start: _added(loads, start, costs))
        for number, chunk in enumerate(chunks):
            turn = (offset + number) % period
            loads[turn] += costs[number]
            for place in chunk:
                found[place] = turn
    return tuple(found)


def _classes(
    shapes: Sequence[_Shapes | None], period: int
) -> list[tuple[int, list[tuple[int, ...]]]]:
    """The cost of one tensor and the chunks of each class, in the order in which they choose."""
    members: dict[_Shapes, list[int]] = {}
    for place, kept in enumerate(shapes):
        if kept is not None:
            members.setdefault(kept, []).append(place)
    found = []
    for kept, places in members.items():
        size, cost = -(-len(places) // period), sum(map(_cost, kept))
        chunks = [tuple(places[i : i + size]) for i in range(0, len(places), size)]
        found.append((cost, chunks))
    return sorted(found, key=lambda each: (-each[0] * len(each[1][0]), each[1][0]))


def _cost(shape: tuple[int, ...]) -> int:
    return prod(shape) * (shape[-1] if shape else 1)


def _added(loads: Sequence[int], start: int, costs: Sequence[int]) -> int:
    """By how much the sum of the squares of all loads grows."""
    places = ((start + number) % len(loads) for number in range(len(costs)))
    return sum((2 * loads[place] + cost) * cost for place, cost in zip(places, costs, strict=True))
