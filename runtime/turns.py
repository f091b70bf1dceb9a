"""Work that is staggered: each tensor has its turn at one of every `n` steps.

The turns are a schedule of shapes alone, made before the program runs: tensors whose kept values
have equal shapes are a class. The K tensors of a class, in the order of the weights, are cut into
chunks of ceil(K / n), which have their turns one after the other, from an offset on. Classes choose
their offsets by the cost of a whole chunk, the dearest first, and of equals the one whose first
tensor comes first: each takes the offset at which the sum of the squares of all steps' costs is
smallest, the first of equals. The cost of a tensor is the size of each kept value times the length
of its last axis, as for the products and factorisations of matrices.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .field import Field, Mask, cast
from .tree import Leaf, Place, Tree

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
    tree = fields[0].tree
    columns = [field.tensors for field in fields]
    olds = list(zip(*columns, strict=True)) if columns else []
    turn = _turns_of(tree, olds, period)
    work = _Work(fresh, args, tree, period, (t - 1) % period)
    made = [
        before if before[0] is None else work(place, turn, before)
        for place, before in enumerate(olds)
    ]
    results = zip(*made, strict=True) if made else ((),) * len(fields)
    found = tuple(Field(x, field.tree) for x, field in zip(results, fields, strict=True))
    return found[0] if isinstance(kept, Field) else found


def _turns_of(tree: Tree, kept: Sequence[tuple[Any, ...]], period: int) -> tuple[int | None, ...]:
    """The turn of each weight tensor, however some of them are stacked."""
    shapes: list[_Shapes | None] = [None] * len(tree.leaves)
    for place, arrays in zip(tree.places, kept, strict=True):
        if arrays[0] is not None:
            alone = 1 if place.is_stack else 0
            for member in place.members:
                shapes[member] = tuple(x.shape[alone:] for x in arrays)
    return turns(tuple(shapes), period)


class _Work:
    """Staggered work on one place, traced once for places of equal shape, dtype and sets."""

    def __init__(
        self,
        fresh: Callable[..., Any],
        args: tuple[Any, ...],
        tree: Tree,
        period: int,
        now: jax.Array | int,
    ) -> None:
        self._fresh = fresh
        self._args = args
        self._tree = tree
        self._period = period
        self._now = jnp.asarray(now)
        self._jitted: dict[Any, Callable[..., Any]] = {}

    def __call__(
        self, index: int, turn: Sequence[int | None], olds: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """What is kept at one place after the step, by the turn of each weight tensor."""
        place = self._tree.places[index]
        flags = tuple(arg.flags[index] for arg in self._args if isinstance(arg, Mask))
        tensors = [arg.tensors[index] for arg in self._args if isinstance(arg, Field)]
        if not place.is_stack:
            key = place.leaf.shape, place.leaf.dtype, flags
            if key not in self._jitted:
                self._jitted[key] = jax.jit(self._one(_alone(place.leaf), flags))
            due = self._now == turn[place.members[0]]
            return tuple(self._jitted[key](due, olds, tensors))
        split = self._tree.open_split
        table = _table(place, turn, self._period, split.devices if split else 1)
        several = place.leaf.shape, place.leaf.dtype, flags, table.shape, len(place.rows)
        if several not in self._jitted:
            few = self._few(_some(place.leaf, table.shape[-1]), flags)
            over = few if split is None else split.over(few, (True, False, True, True))
            self._jitted[several] = jax.jit(over)
        return tuple(self._jitted[several](table, self._now, olds, tensors))

    def _one(self, alone: Tree, flags: tuple[bool, ...]) -> Callable[..., Any]:
        """What is kept for a tensor after the step, where it is `due`."""

        def work(due: jax.Array, olds: tuple[Any, ...], tensors: list[Any]) -> Any:
            def anew() -> tuple[Any, ...]:
                news = self._anew(alone, flags, tensors)
                return tuple(cast(new, old.dtype) for new, old in zip(news, olds, strict=True))

            return lax.cond(due, anew, lambda: olds)

        return work

    def _few(self, some: Tree, flags: tuple[bool, ...]) -> Callable[..., Any]:
        """What is kept for a stack, or a device's part of it, after those that are due had a turn.

        `table` has the rows for each turn, the last of them again where there are fewer, and -1
        where there is none.
        """

        def work(table: jax.Array, now: jax.Array, olds: tuple[Any, ...], stacks: list[Any]) -> Any:
            rows = table[0, now]

            def anew() -> tuple[Any, ...]:
                tensors = [None if x is None else x[rows] for x in stacks]
                news = self._anew(some, flags, tensors)
                return tuple(
                    old.at[rows].set(cast(new, old.dtype))
                    for new, old in zip(news, olds, strict=True)
                )

            return lax.cond(rows[0] >= 0, anew, lambda: olds)

        return work

    def _anew(self, tree: Tree, flags: tuple[bool, ...], tensors: list[Any]) -> list[Any]:
        """The new values of what a place of this tree keeps."""
        own, here = iter(tensors), iter(flags)
        made = self._fresh(*(self._told(arg, tree, own, here) for arg in self._args))
        return [field.tensors[0] for field in ((made,) if isinstance(made, Field) else made)]

    def _told(self, arg: Any, tree: Tree, own: Iterator[Any], here: Iterator[bool]) -> Any:
        match arg:
            case Field():
                return Field((next(own),), tree, arg.declared)
            case Mask():
                return Mask((next(here),))
            case _:
                return arg


def _alone(leaf: Leaf) -> Tree:
    return Tree(_ALONE, (Leaf("", leaf.shape, leaf.dtype),))


def _some(leaf: Leaf, count: int) -> Tree:
    """So many tensors like one, in a stack."""
    rows = tuple(range(count))
    own = Leaf("", leaf.shape, leaf.dtype)
    return Tree(jax.tree.structure([0] * count), (own,) * count, (Place(own, rows, rows),))


def _table(place: Place, turn: Sequence[int | None], period: int, parts: int) -> Any:
    """For each part of a stack and each turn, the rows of the part that have it."""
    size = len(place.rows) // parts
    firsts = {member: place.rows.index(member) for member in place.members}
    found: list[list[list[int]]] = [[[] for _ in range(period)] for _ in range(parts)]
    for member, row in firsts.items():
        found[row // size][turn[member] or 0].append(row % size)
    most = max(len(rows) for part in found for rows in part)
    filled = [[(rows + rows[-1:] * most)[:most] or [-1] * most for rows in part] for part in found]
    return np.array(filled, np.int32)


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
