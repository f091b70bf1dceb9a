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
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .control import in_place
from .field import Field, Mask, cast
from .tree import Leaf, Place, Tree

_Shapes: TypeAlias = tuple[tuple[int, ...], ...]
"""The shapes of what is kept for one tensor."""

_ALONE = jax.tree.structure(0)


@dataclass(frozen=True)
class Instead:
    """A function like that of `staggered`, of `args`, for all tensors where a condition holds."""

    condition: jax.Array
    fresh: Callable[..., Any]
    args: tuple[Any, ...]


def staggered(
    period: int,
    t: jax.Array | int,
    kept: Field | tuple[Field, ...],
    fresh: Callable[..., Any],
    *args: Any,
    instead: Instead | None = None,
    after: Sequence[Field] = (),
) -> Any:
    """What is kept, but `fresh(*args)` for the tensors that have their turn at step `t`.

    `fresh` is a function of fields, and works on each tensor alone: it is called with one tensor
    at a time of the fields and masks among `args`, and gives as many fields as are `kept`. A
    tensor that nothing is kept for has none. `after` are values that were made of what is kept
    before; it changes where it lies when they are there. Raises ValueError where the period is
    below 1.
    """
    if period < 1:
        raise ValueError(f"the period of staggered work is {period}; it must be at least 1")
    fields = (kept,) if isinstance(kept, Field) else kept
    tree = fields[0].tree
    columns = [field.tensors for field in fields]
    olds = list(zip(*columns, strict=True)) if columns else []
    turn = _turns_of(tree, olds, period)
    ways = [_Way(fresh, args, fields)]
    holds = jnp.asarray(False)
    if instead is not None:
        ways.append(_Way(instead.fresh, instead.args, fields))
        holds = instead.condition
    work = _Work(ways, tree, period, jnp.asarray((t - 1) % period), holds)
    made = [
        before
        if before[0] is None
        else work(place, turn, before, [x for f in after if (x := f.tensors[place]) is not None])
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


@dataclass(frozen=True)
class _Told:
    """What is static of what a function is told of one place.

    The flags of masks, and which of the kept values each field is, None for one that is none.
    """

    flags: tuple[bool, ...]
    same: tuple[int | None, ...]


class _Way:
    """A function of fields and what it is told, among which is what is kept."""

    def __init__(
        self, fresh: Callable[..., Any], args: tuple[Any, ...], kept: Sequence[Field]
    ) -> None:
        self._fresh = fresh
        self._args = args
        self._kept = kept

    def told(self, index: int) -> tuple[_Told, list[Any]]:
        """What it is told of one place; the tensors that are none of the kept ones."""
        flags = tuple(arg.flags[index] for arg in self._args if isinstance(arg, Mask))
        tensors = [arg.tensors[index] for arg in self._args if isinstance(arg, Field)]
        kept = {id(field.tensors[index]): i for i, field in enumerate(self._kept)}
        same = tuple(None if x is None else kept.get(id(x)) for x in tensors)
        others = [x if i is None else None for x, i in zip(tensors, same, strict=True)]
        return _Told(flags, same), others

    def __call__(self, tree: Tree, told: _Told, kept: Sequence[Any], others: Sequence[Any]) -> Any:
        """The new values of what a place of this tree keeps, in the dtypes of the old."""
        tensors = [x if i is None else kept[i] for x, i in zip(others, told.same, strict=True)]
        own, here = iter(tensors), iter(told.flags)
        made = self._fresh(*(_given(arg, tree, own, here) for arg in self._args))
        news = (made,) if isinstance(made, Field) else made
        return tuple(cast(new.tensors[0], old.dtype) for new, old in zip(news, kept, strict=True))


def _given(arg: Any, tree: Tree, own: Iterator[Any], here: Iterator[bool]) -> Any:
    match arg:
        case Field():
            return Field((next(own),), tree, arg.declared)
        case Mask():
            return Mask((next(here),))
        case _:
            return arg


class _Work:
    """Staggered work on one place, traced once for places of equal shape, dtype and sets.

    `holds` is whether the second of two ways is gone for all tensors.
    """

    def __init__(
        self, ways: Sequence[_Way], tree: Tree, period: int, now: jax.Array, holds: jax.Array
    ) -> None:
        self._ways = ways
        self._tree = tree
        self._period = period
        self._now = now
        self._holds = holds
        self._jitted: dict[Any, Callable[..., Any]] = {}

    def __call__(
        self, index: int, turn: Sequence[int | None], olds: tuple[Any, ...], after: list[Any]
    ) -> tuple[Any, ...]:
        """What is kept at one place after the step, by the turn of each weight tensor."""
        place = self._tree.places[index]
        told, others = zip(*(way.told(index) for way in self._ways), strict=True)
        alike = place.leaf.shape, place.leaf.dtype, told, len(after)
        if not place.is_stack:
            if alike not in self._jitted:
                self._jitted[alike] = jax.jit(self._one(_alone(place.leaf), told))
            due = self._now == turn[place.members[0]]
            return tuple(self._jitted[alike](due, self._holds, olds, others, after))
        split = self._tree.open_split
        table = _table(place, turn, self._period, split.devices if split else 1)
        several = (*alike, table.shape, len(place.rows))
        if several not in self._jitted:
            few = self._few(place.leaf, told)
            over = few if split is None else split.over(few, (True, False, False, True, True, True))
            self._jitted[several] = jax.jit(over)
        return tuple(self._jitted[several](table, self._now, self._holds, olds, others, after))

    def _one(self, alone: Tree, told: Sequence[_Told]) -> Callable[..., Any]:
        """What is kept for a tensor after the step, where it is `due`."""

        def work(due: jax.Array, holds: jax.Array, olds: Any, others: Any, after: Any) -> Any:
            def anew(kept: Any, holds: jax.Array, others: Any) -> Any:
                ways = [
                    partial(way, alone, each) for way, each in zip(self._ways, told, strict=True)
                ]
                return _gone(ways, holds, kept, others)

            return in_place(due | holds, anew, olds, holds, others, after=after)

        return work

    def _few(self, leaf: Leaf, told: Sequence[_Told]) -> Callable[..., Any]:
        """What is kept for a stack, or a device's part of it, after those that are due had a turn.

        `table` has the rows for each turn, the last of them again where there are fewer, and -1
        where there is none.
        """

        def work(
            table: jax.Array, now: jax.Array, holds: jax.Array, olds: Any, others: Any, after: Any
        ) -> Any:
            rows = table[0, now]

            def some(kept: Any, others: Any) -> Any:
                old, given = jax.tree.map(lambda x: x[rows], (kept, others))
                news = self._ways[0](_several(leaf, len(rows)), told[0], old, given)
                return tuple(x.at[rows].set(new) for x, new in zip(kept, news, strict=True))

            def every(kept: Any, others: Any) -> Any:
                return self._ways[1](_several(leaf, len(kept[0])), told[1], kept, others)

            def anew(kept: Any, holds: jax.Array, others: Any) -> Any:
                return _gone((some, every)[: len(told)], holds, kept, others)

            return in_place((rows[0] >= 0) | holds, anew, olds, holds, others, after=after)

        return work


def _gone(ways: Sequence[Callable[..., Any]], holds: jax.Array, kept: Any, others: Any) -> Any:
    """What one of two ways gives, the second where `holds`, or the only one."""
    if len(ways) == 1:
        return ways[0](kept, others[0])
    first, second = ways
    return lax.cond(
        holds,
        lambda kept, others: second(kept, others[1]),
        lambda kept, others: first(kept, others[0]),
        kept,
        others,
    )


def _alone(leaf: Leaf) -> Tree:
    return Tree(_ALONE, (Leaf("", leaf.shape, leaf.dtype),))


def _several(leaf: Leaf, count: int) -> Tree:
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
