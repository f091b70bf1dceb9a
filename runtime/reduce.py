"""Reductions: over all tensors of a field to one scalar, and inside one tensor (`..._per`).

Those of a field give one scalar of the default float dtype (`all` and `any` a bool). Each tensor
is reduced in its own dtype, at least float32; tensors that are not there count for nothing. Over no
elements at all `sum`, `norm`, `dot` and `mean` are 0, `max` is -inf and `min` is inf: a group
that chooses no tensor then changes nothing.

The names are those of the language, hence of some builtins: use them as `rt.sum`.
"""

import builtins
from collections.abc import Callable
from functools import reduce
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .field import Field, cast

Per: TypeAlias = Literal["tensor", "unit", "row", "column", "matrix"] | int
"""What one value of a reduction inside a tensor stands for; an axis for each place of it."""


def norm(x: Field) -> jax.Array:
    """The Euclidean norm of all elements."""
    return jnp.sqrt(_joined(lax.add, 0.0, _parts(_sum_of_squares, x)))


def dot(x: Field, y: Field) -> jax.Array:
    """The inner product over the tensors that both have."""
    if x is y:
        return _joined(lax.add, 0.0, _parts(_sum_of_squares, x))
    return _joined(lax.add, 0.0, _parts(_sum_of_products, x, y))


def sum(x: Field) -> jax.Array:
    """The sum of all elements."""
    return _joined(lax.add, 0.0, _parts(_sum, x))


def mean(x: Field) -> jax.Array:
    """The mean of all elements."""
    pairs = zip(x.tree.places, x.tensors, strict=True)
    size = np.sum([place.size(t) for place, t in pairs if t is not None], dtype=float)
    return sum(x) / float(np.maximum(size, 1))


def max(x: Field) -> jax.Array:
    """The greatest element."""
    return _joined(lax.max, -jnp.inf, _parts(_max, x))


def min(x: Field) -> jax.Array:
    """The least element."""
    return _joined(lax.min, jnp.inf, _parts(_min, x))


def all(x: Field) -> jax.Array:
    """Whether all elements are true."""
    return _joined(lax.bitwise_and, True, _parts(_all, x))


def any(x: Field) -> jax.Array:
    """Whether some element is true."""
    return _joined(lax.bitwise_or, False, _parts(_any, x))


def norm_per(x: jax.Array, per: Per) -> jax.Array:
    """The Euclidean norm of each part of one tensor, in a shape that broadcasts against it."""
    return jnp.sqrt(sum_per(_square(x), per))


def dot_per(x: jax.Array, y: jax.Array, per: Per) -> jax.Array:
    """The inner product of each part of two tensors, in a shape that broadcasts against them."""
    return sum_per(x * y, per)


def sum_per(x: jax.Array, per: Per) -> jax.Array:
    """The sum of each part of one tensor, in a shape that broadcasts against it."""
    return jnp.sum(x, _axes(x, per), keepdims=True)


def mean_per(x: jax.Array, per: Per) -> jax.Array:
    """The mean of each part of one tensor, in a shape that broadcasts against it."""
    return jnp.mean(x, _axes(x, per), keepdims=True)


def max_per(x: jax.Array, per: Per) -> jax.Array:
    """The greatest element of each part of one tensor, in a shape that broadcasts against it."""
    return greatest(x, _axes(x, per))


def min_per(x: jax.Array, per: Per) -> jax.Array:
    """The least element of each part of one tensor, in a shape that broadcasts against it."""
    return -greatest(-x, _axes(x, per))


def greatest(x: jax.Array, axes: tuple[int, ...] | None) -> jax.Array:
    """The greatest over some axes, all where it is None, NaN where any is; axes stay.

    XLA for CPU (jaxlib 0.10) leaves NaN out where it looks for the greatest of 4096 or more.
    """
    found = jnp.max(x, axes, keepdims=True, initial=-jnp.inf)
    if jax.default_backend() != "cpu":
        return found
    return found + jnp.sum(jnp.where(x == x, 0, x), axes, keepdims=True)


def _square(x: jax.Array) -> jax.Array:
    """`x * x`, which XLA does not take for that of a rule.

    It would make that once, store it, and read it for the norm and for a second moment. The
    barrier is gone before XLA makes kernels.
    """
    x = lax.optimization_barrier(x)  # type: ignore[no-untyped-call]  # jax has none
    return x * x


# One jitted function for each kind of part: tensors of equal shape are traced and lowered once.
_sum = jax.jit(jnp.sum)
_sum_of_squares = jax.jit(lambda x: jnp.sum(_square(x)))
_sum_of_products = jax.jit(lambda x, y: jnp.sum(x * y))
_max = jax.jit(lambda x: greatest(x, None).reshape(()))
_min = jax.jit(lambda x: -greatest(-x, None).reshape(()))
_all = jax.jit(jnp.all)
_any = jax.jit(jnp.any)


def _parts(one: Callable[..., jax.Array], *fields: Field) -> list[jax.Array]:
    """What `one` gives of the tensors that all fields have; of a stack as a whole.

    A stack in which members lie twice is reduced one by one, so that each of them counts once.
    """
    found: list[jax.Array] = []
    tree = fields[0].tree
    for place, *tensors in zip(tree.places, *(field.tensors for field in fields), strict=True):
        if not builtins.all(x is not None for x in tensors):
            continue
        if len(place.rows) > len(place.members):
            found += tree.members_of(place, jax.vmap(one)(*tensors))
        else:
            found.append(one(*tensors))
    return found


def _joined(
    join: Callable[[jax.Array, jax.Array], jax.Array], start: float | bool, parts: list[jax.Array]
) -> jax.Array:
    """One scalar from `start` and the parts that the tensors gave."""
    first = jnp.array(start, jnp.result_type(type(start)))
    if not parts:
        return first
    # Without the barrier XLA fuses the parts of all tensors into one kernel, which took 7 s to
    # compile for 148 tensors. To concatenate the parts compiles slower than to join them in turn.
    apart = lax.optimization_barrier(tuple(parts))  # type: ignore[no-untyped-call]  # jax has none
    return reduce(join, (cast(part, first.dtype) for part in apart), first)


def _axes(x: jax.Array, per: Per) -> tuple[int, ...]:
    """The axes that one value runs over; tensors of fewer than two axes are one part.

    "unit" is one value for each output unit, by the convention of optax.adaptive_grad_clip:
    kernels are laid out input first, those of three axes are taken for several heads.
    """
    axes = tuple(range(x.ndim))
    if isinstance(per, int):
        return axes[:per] + axes[per + 1 :]
    if per == "tensor" or x.ndim < 2:
        return axes
    match per:
        case "unit":
            if len([size for size in x.shape if size != 1]) <= 1:
                return axes
            return axes[:1] if x.ndim <= 3 else axes[:-1]
        case "row":
            return axes[-1:]
        case "column":
            return axes[-2:-1]
        case "matrix":
            return axes[-2:]
        case _:
            raise ValueError(f"`per` is {per!r}; it is tensor, unit, row, column or matrix")
