"""What ops mean for one tensor, in NumPy float64: shapes, views, blocks, matrices, reductions."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from . import matrices, rearrange
from .environment import Tensor
from .graph import Node, rounds
from .lengths import worked_out
from .ops import MAKERS, OPS
from .records import Scalar


def facts(shape: tuple[int, ...]) -> dict[str, Scalar]:
    """What predicates ask of a shape."""
    rows, cols = (1, 1, *shape)[-2:]
    return {"ndim": len(shape), "size": prod(shape), "rows": rows, "cols": cols}


def shaped(node: Node, x: Tensor, *more: Any) -> Tensor:
    """An op of the shape of a tensor, which `more` says: sizes, or another tensor."""
    match node.op:
        case "extent":
            return np.full((1,) * np.ndim(x), float(np.shape(x)[int(node["axis"])]))
        case "rank_as":
            return np.reshape(x, (1,) * np.ndim(more[0]))
        case "blocks":
            return blocks(x, int(more[0]))
        case "unblocks":
            return whole(x, np.shape(more[0]))
    before, after = rearrange.sides(str(node["pattern"]))
    like = x
    if node.op == "unview":
        like, more = more[0], more[1:]
    given = iter(more)
    pairs = (size.split("=") for size in str(node["sizes"]).split())
    sizes = {name: int(size or next(given)) for name, size in pairs}
    lengths = rearrange.lengths(before, np.shape(like), sizes)
    if node.op == "unview":
        before, after = after, before
    names = [name for axis in before for name in axis]
    apart = np.reshape(x, [lengths[name] for name in names])
    moved = np.transpose(apart, [names.index(name) for axis in after for name in axis])
    return np.reshape(moved, [prod(lengths[name] for name in axis) for axis in after])


def blocks(x: Tensor, largest: int) -> Tensor:
    """The grid of blocks of the last two axes, zeros behind them."""
    down, across, height, width = rearrange.in_blocks(np.shape(x), largest)[-4:]
    rows, cols = np.shape(x)[-2:]
    behind = [(0, down * height - rows), (0, across * width - cols)]
    padded = np.pad(x, [(0, 0)] * (np.ndim(x) - 2) + behind)
    cut = np.reshape(padded, (*np.shape(x)[:-2], down, height, across, width))
    return np.swapaxes(cut, -3, -2)


def whole(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor of a shape that a grid of blocks was cut from."""
    down, across, height, width = np.shape(x)[-4:]
    padded = np.reshape(np.swapaxes(x, -3, -2), (*shape[:-2], down * height, across * width))
    return padded[..., : shape[-2], : shape[-1]]


def interpolate(points: Sequence[tuple[float, float]], x: Tensor) -> Tensor:
    """The straight lines between points, and the first or last of them outside."""
    return np.interp(x, [x for x, _ in points], [y for _, y in points])


def algebra(node: Node, inputs: Sequence[Any]) -> Tensor:
    """A matrix op on one tensor."""
    if node.op in MAKERS:
        like, *named = inputs
        shape = worked_out(str(node["lengths"]), np.shape(like), named)
        if node.op == "filled":
            return np.full(shape, float(node["value"]))
        return getattr(matrices, node.op)(shape)
    if node.op == "gram_loop":
        values = dict(zip(node.inputs, inputs, strict=True))
        given = [(int(values[n]), [values[i] for i in c]) for n, c in rounds(node)]
        return matrices.gram_loop(inputs[0], given, inputs[-1] if node.get("first") else None)
    known: dict[str, Any] = dict(node.attributes)
    if known.pop("otherwise", False):
        *inputs, known["otherwise"] = inputs
    with np.errstate(all="ignore"):
        return getattr(matrices, OPS[node.op].numpy)(*inputs, **known)


def _norm(x: Tensor, **how: Any) -> Tensor:
    return np.sqrt(np.sum(np.square(x), **how))


def _dot(x: Tensor, y: Tensor, **how: Any) -> Tensor:
    return np.sum(x * y, **how)


REDUCTIONS: Mapping[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "largest": np.max,
    "smallest": np.min,
    "norm": _norm,
    "dot": _dot,
    "all": np.all,
    "any": np.any,
}
"""What reductions mean, along the axes that they are given."""
