"""One tensor in another arrangement of its axes or in blocks, and its lengths as numbers.

An arrangement is written in the notation of einops: `d (q h k) -> q h d k` takes the second axis
apart into three and moves the first behind two of them. `view` shows a tensor so, and `unview`
undoes it. `blocks` cuts the last two axes into a grid of equal blocks, with zeros where they do not
divide; the axes of the grid stand before those of a block.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TypeAlias

import jax
import jax.numpy as jnp

from .tree import Leaf

_Side: TypeAlias = tuple[tuple[str, ...], ...]
"""The axes of a tensor in order, each made of one or several named axes."""


def extent(x: jax.Array, axis: int) -> jax.Array:
    """The length of an axis, as a float that broadcasts against the tensor."""
    return jnp.full((1,) * x.ndim, x.shape[axis], x.dtype)


def rank_as(x: jax.Array, like: jax.Array) -> jax.Array:
    """One number for a tensor, with as many axes as `like` has."""
    return x.reshape((1,) * like.ndim)


def view(x: jax.Array, pattern: str, /, **sizes: int) -> jax.Array:
    """The tensor in the arrangement on the right of `pattern`; `sizes` are those of new axes."""
    before, after = _sides(pattern)
    return _rearranged(x, before, after, _lengths(before, x.shape, sizes))


def unview(x: jax.Array, like: jax.Array, pattern: str, /, **sizes: int) -> jax.Array:
    """The tensor that `view` shows as `x`; it has the shape of `like`."""
    before, after = _sides(pattern)
    return _rearranged(x, after, before, _lengths(before, like.shape, sizes))


def blocks(x: jax.Array, largest: int) -> jax.Array:
    """The grid of blocks of the last two axes, each of at most so many rows and columns."""
    down, across, height, width = _in_blocks(x.shape, largest)[-4:]
    *leading, rows, cols = x.shape
    padded = x
    if (down * height, across * width) != (rows, cols):
        behind = [(0, 0)] * len(leading) + [(0, down * height - rows), (0, across * width - cols)]
        padded = jnp.pad(x, behind)
    return padded.reshape(*leading, down, height, across, width).swapaxes(-3, -2)


def unblocks(x: jax.Array, like: jax.Array, largest: int) -> jax.Array:
    """The tensor that `blocks` shows as `x`; it has the shape of `like`."""
    down, across, height, width = _in_blocks(like.shape, largest)[-4:]
    *leading, rows, cols = like.shape
    return x.swapaxes(-3, -2).reshape(*leading, down * height, across * width)[..., :rows, :cols]


@dataclass(frozen=True)
class View:
    """The arrangement in which a group sees its tensors.

    Without a pattern the axes stay as they are; `blocks_of` cuts the last two of what there is
    then. A size is a number, or the name of a hyperparameter.
    """

    pattern: str
    sizes: Mapping[str, int | str]
    blocks_of: int | str | None

    def __init__(
        self, pattern: str = "", /, *, blocks_of: int | str | None = None, **sizes: int | str
    ) -> None:
        object.__setattr__(self, "pattern", pattern)
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "blocks_of", blocks_of)

    def __str__(self) -> str:
        shown = [self.pattern] if self.pattern else []
        shown += [f"blocks of {self.blocks_of}"] if self.blocks_of is not None else []
        return ", ".join(shown)

    def shape(self, shape: tuple[int, ...], h: Mapping[str, int]) -> tuple[int, ...]:
        """The shape that a tensor of `shape` has in the arrangement.

        Raises ValueError, saying why, where it does not fit.
        """
        if self.pattern:
            before, after = _sides(self.pattern)
            sizes = {name: _size(x, h) for name, x in self.sizes.items()}
            lengths = _lengths(before, shape, sizes)
            shape = tuple(prod(lengths[name] for name in axis) for axis in after)
        return shape if self.blocks_of is None else _in_blocks(shape, _size(self.blocks_of, h))

    def of(self, leaf: Leaf, h: Mapping[str, int]) -> Leaf:
        """The leaf as the group sees it."""
        return Leaf(leaf.path, self.shape(leaf.shape, h), leaf.dtype)


def _size(size: int | str, h: Mapping[str, int]) -> int:
    return h[size] if isinstance(size, str) else size


def _in_blocks(shape: tuple[int, ...], largest: int) -> tuple[int, ...]:
    """The shape of a grid of blocks: before each of the last two lengths how many there are."""
    if largest < 1:
        raise ValueError(f"the size {largest} of a block is below 1")
    if len(shape) < 2:
        raise ValueError(f"it has {_count(shape)}, and blocks are cut from two")
    counts = [max(-(-length // largest), 1) for length in shape[-2:]]
    sizes = [-(-length // count) for length, count in zip(shape[-2:], counts, strict=True)]
    return (*shape[:-2], *counts, *sizes)


@cache
def _sides(pattern: str) -> tuple[_Side, _Side]:
    """The two sides of a pattern, which the compiler has found to be well formed."""
    before, after = pattern.split("->")
    return _axes(before), _axes(after)


def _axes(side: str) -> _Side:
    found = re.findall(r"\(([^)]*)\)|(\w+)", side)
    return tuple(tuple((inner or single).split()) for inner, single in found)


def _lengths(side: _Side, shape: tuple[int, ...], sizes: Mapping[str, int]) -> dict[str, int]:
    """The length of each named axis of a tensor of this shape."""
    if len(side) != len(shape):
        raise ValueError(f"it has {_count(shape)}, and the arrangement takes {len(side)}")
    lengths = dict(sizes)
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"the size {name} = {size} is below 1")
    for names, length in zip(side, shape, strict=True):
        known = prod(sizes[name] for name in names if name in sizes)
        unknown = [name for name in names if name not in sizes]
        shown = " * ".join(f"{name} = {sizes[name]}" for name in names if name in sizes)
        if unknown and length % known:
            raise ValueError(f"its axis of length {length} is no multiple of {shown}")
        if not unknown and known != length:
            raise ValueError(f"its axis of length {length} is not {shown}")
        lengths |= dict.fromkeys(unknown, length // known)
    return lengths


def _count(shape: tuple[int, ...]) -> str:
    return "1 axis" if len(shape) == 1 else f"{len(shape)} axes"


def _rearranged(x: jax.Array, given: _Side, wanted: _Side, lengths: Mapping[str, int]) -> jax.Array:
    names = [name for axis in given for name in axis]
    apart = x.reshape([lengths[name] for name in names])
    moved = apart.transpose([names.index(name) for axis in wanted for name in axis])
    return moved.reshape([prod(lengths[name] for name in axis) for axis in wanted])
