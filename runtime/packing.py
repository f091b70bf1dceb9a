"""Several tensors as one vector, and back: two linear operations, each the transpose of the other.

They are primitives of JAX, so that a thousand tensors are one equation, that the derivative in a
vector is one concatenation, and that each backend has the code that is best on it. Axes before
those of the tensors, as `jax.vmap` gives them, stay first.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .devices import whole

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


def pack(tensors: Sequence[jax.Array]) -> jax.Array:
    """The elements of all tensors, in order, as one vector, which is whole on every device."""
    vector: jax.Array = _pack.bind(*map(whole, tensors), leading=0)
    return vector


def unpack(vector: jax.Array, shapes: Shapes) -> list[jax.Array]:
    """The tensors of these shapes that a vector was packed of."""
    tensors: list[jax.Array] = _unpack.bind(vector, shapes=shapes)
    return tensors


def at_runtime(x: jax.Array, places: Sequence[int]) -> Sequence[Any]:
    """Places in `x` as numbers that XLA for CPU does not know before the program runs.

    It makes code for each slice at a place that it knows, and once for all others of one shape.
    So the places come out of a choice by a value of `x`, whose branches are equal in two ways.
    """
    first = x[(0,) * x.ndim]
    is_nan = first != first
    found: Sequence[Any] = lax.cond(
        is_nan,
        lambda one: [lax.add(one, np.int32(place - 1)) for place in places],
        lambda _: [np.int32(place) for place in places],
        is_nan.astype(jnp.int32),
    )
    return found


# JAX has no types for primitives and their rules.
_pack: Any = Primitive("pack")
_unpack: Any = Primitive("unpack")
_unpack.multiple_results = True


def _joined(*tensors: jax.Array, leading: int) -> jax.Array:
    flat = [lax.reshape(x, (*x.shape[:leading], prod(x.shape[leading:]))) for x in tensors]
    vector: jax.Array = lax.concatenate_p.bind(*flat, dimension=leading)
    return vector


def _sliced(vector: jax.Array, *, shapes: Shapes) -> list[jax.Array]:
    """The tensors as slices at places that XLA knows."""
    return _at(vector, shapes, _starts(shapes))


def _sliced_at_runtime(vector: jax.Array, *, shapes: Shapes) -> list[jax.Array]:
    """The same at places that XLA does not know."""
    if vector.size == 0:
        return _sliced(vector, shapes=shapes)
    return _at(vector, shapes, at_runtime(vector, _starts(shapes)))


def _at(vector: jax.Array, shapes: Shapes, starts: Sequence[Any]) -> list[jax.Array]:
    # Slices by `lax.dynamic_slice` take three times as long to trace and lower: it looks for places
    # before the start.
    before = vector.shape[:-1]
    first = (np.int32(0),) * len(before)
    slices = [
        lax.dynamic_slice_p.bind(vector, *first, start, slice_sizes=(*before, prod(shape)))
        for start, shape in zip(starts, shapes, strict=True)
    ]
    return [lax.reshape(x, (*before, *shape)) for x, shape in zip(slices, shapes, strict=True)]


def _starts(shapes: Shapes) -> list[Any]:
    return [np.int32(start) for start in accumulate(map(prod, shapes), initial=0)][:-1]


# ---- what JAX knows of the two


def _shape_of_pack(*tensors: Any, leading: int) -> Any:
    first = tensors[0]
    size = sum(prod(x.shape[leading:]) for x in tensors)
    return first.update(shape=(*first.shape[:leading], size))


def _shapes_of_unpack(vector: Any, *, shapes: Shapes) -> list[Any]:
    return [vector.update(shape=(*vector.shape[:-1], *shape)) for shape in shapes]


def _transposed_pack(cotangent: Any, *tensors: Any, leading: int) -> list[Any]:
    shapes = tuple(x.aval.shape[leading:] for x in tensors)
    return list(_unpack.bind(cotangent, shapes=shapes))


def _transposed_unpack(cotangents: Sequence[Any], vector: Any, *, shapes: Shapes) -> list[Any]:
    return [_pack.bind(*map(ad.instantiate_zeros, cotangents), leading=vector.aval.ndim - 1)]


def _batched_pack(tensors: Sequence[Any], axes: Sequence[Any], *, leading: int) -> Any:
    size = next(x.shape[axis] for x, axis in zip(tensors, axes, strict=True) if axis is not None)
    to_front: Any = batching.bdim_at_front
    moved = [to_front(x, axis, size) for x, axis in zip(tensors, axes, strict=True)]
    return _pack.bind(*moved, leading=leading + 1), 0


def _batched_unpack(vectors: Sequence[Any], axes: Sequence[Any], *, shapes: Shapes) -> Any:
    moved = jnp.moveaxis(vectors[0], axes[0], 0)
    return _unpack.bind(moved, shapes=shapes), [0] * len(shapes)


_pack.def_impl(jax.jit(_joined, static_argnames="leading"))
_unpack.def_impl(jax.jit(_sliced, static_argnames="shapes"))
_pack.def_abstract_eval(_shape_of_pack)
_unpack.def_abstract_eval(_shapes_of_unpack)
ad.deflinear2(_pack, _transposed_pack)  # type: ignore[no-untyped-call]
ad.deflinear2(_unpack, _transposed_unpack)  # type: ignore[no-untyped-call]
batching.primitive_batchers[_pack] = _batched_pack
batching.primitive_batchers[_unpack] = _batched_unpack
mlir.register_lowering(_pack, mlir.lower_fun(_joined, multiple_results=False))
mlir.register_lowering(_unpack, mlir.lower_fun(_sliced, multiple_results=True))
mlir.register_lowering(
    _unpack, mlir.lower_fun(_sliced_at_runtime, multiple_results=True), platform="cpu"
)
