"""Histories: the last few fields, kept in a ring, and matrices that are made of them.

    pairs = rt.history(w, 10)
    pairs = rt.push(pairs, g)
    u = rt.inverse_fisher(pairs, g, 1e-3)

A matrix is never made: each product reads the kept fields a few times, all of them at once where
their order does not matter.
"""

from functools import reduce
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from .field import WIDENED, Field, compute_dtype
from .reduce import dot


class History(NamedTuple):
    """The last fields that were pushed: each weight tensor has one more axis, the first, of places.

    No weights lie in stacks here: a product reads all kept fields at once, whatever they are made
    of. `pushed` counts the pushes; the next one goes to the place `pushed % size`. `products` are
    the inner products of all pairs of places, where they are kept. Empty places hold zeros.
    """

    rows: Field
    pushed: jax.Array
    products: jax.Array | None

    @property
    def size(self) -> int:
        """How many fields have a place; 0 where there is no tensor at all."""
        return next((x.shape[0] for x in self.rows.tensors if x is not None), 0)


Kept = TypeVar("Kept", Field, History)

jax.export.register_namedtuple_serialization(History, serialized_name="optc.runtime.History")


def history(w: Field, size: int, *, products: bool = False) -> History:
    """An empty history with places for `size` fields like `w`.

    With `products` each push finds the inner products of the new field with the others, so that
    `inverse_fisher` need not find all of them each time. It has to be kept in no fewer bits than
    the weights.
    """
    tensors = (
        None if x is None else jnp.zeros((size, *x.shape), compute_dtype(x.dtype))
        for x in Field(w.like, w.tree).members
    )
    rows = Field(tuple(tensors), w.tree.plain)
    made = jnp.zeros((size, size)) if products else None
    return History(rows, jnp.zeros((), jnp.int32), made)


def stored(kept: Kept, dtype: str) -> Kept:
    """A field, or the fields of a history, to be kept between steps in `dtype`; used in `init`."""
    if isinstance(kept, History):
        return kept._replace(rows=stored(kept.rows, dtype))
    return Field(kept.tensors, kept.tree, dtype)


def widened(kept: Field) -> Field:
    """A field to be kept between steps in the dtype that is computed in, at least float32."""
    return Field(kept.tensors, kept.tree, WIDENED)


def push(old: History, field: Field) -> History:
    """The history with one more field, in the place of the oldest where there is no other."""
    if old.size == 0:
        return old
    if old.products is not None:
        field = _as_kept(field)
    place = old.pushed % old.size
    tensors = (
        None
        if row is None or x is None
        else lax.dynamic_update_index_in_dim(row, x.astype(row.dtype), place, 0)
        for row, x in zip(old.rows.tensors, field.members, strict=True)
    )
    rows = Field(tuple(tensors), old.rows.tree, old.rows.declared)
    products = old.products
    if products is not None:
        found = _times(rows, field).astype(products.dtype)
        products = products.at[place].set(found).at[:, place].set(found)
    return History(rows, old.pushed + 1, products)


def inverse_fisher(gradients: History, x: Field, damping: jax.Array | float) -> Field:
    """(damping I + 1/n sum_i g_i g_i')^-1 x, where n counts the places, empty ones too.

    By Woodbury's identity: (x - G'(n damping I + G G')^-1 G x) / damping with the gradients as the
    rows of G, one Cholesky solve of n equations (M-FAC, arXiv:2107.03356, which finds the same by a
    recursion). Needs a damping above 0.
    """
    size = gradients.size
    if size == 0:
        return x
    products = gradients.products if gradients.products is not None else _products(gradients.rows)
    projected = _times(gradients.rows, x).astype(products.dtype)
    small = products + size * damping * jnp.eye(size, dtype=products.dtype)
    solved = jax.scipy.linalg.solve(small, projected, assume_a="pos")
    tensors = (
        None
        if row is None or t is None
        else (t - _combined(row, solved)) / jnp.asarray(damping, t.dtype)
        for row, t in zip(gradients.rows.tensors, x.members, strict=True)
    )
    return Field.of(tuple(tensors), x.tree)


def inverse_hessian(steps: History, changes: History, x: Field, scale: jax.Array | float) -> Field:
    """The L-BFGS product of the last pairs of a step s and the change y of the gradient, with x.

    `scale` times the identity is where the inverse Hessian starts from. Two loops over the pairs
    (Nocedal 1980, doi:10.1090/S0025-5718-1980-0572855-7); one with s'y = 0 is left out.
    """
    size = steps.size
    if size == 0:
        return x
    order = (steps.pushed + jnp.arange(size)) % size

    def pair(place: jax.Array) -> tuple[Field, Field, jax.Array]:
        s, y = _row(steps.rows, place), _row(changes.rows, place)
        slope = dot(s, y)
        return s, y, jnp.where(slope == 0, 0.0, 1 / jnp.where(slope == 0, 1.0, slope))

    def newest_first(x: Field, place: jax.Array) -> tuple[Field, jax.Array]:
        s, y, rho = pair(place)
        share = rho * dot(s, x)
        return _plus(x, -share, y), share

    def oldest_first(x: Field, given: tuple[jax.Array, jax.Array]) -> tuple[Field, None]:
        place, share = given
        s, y, rho = pair(place)
        return _plus(x, share - rho * dot(y, x), s), None

    bare = Field(x.members, x.tree.plain)
    inner, shares = lax.scan(newest_first, bare, order, reverse=True)
    scaled = Field(
        [None if t is None else jnp.asarray(scale, t.dtype) * t for t in inner.tensors], inner.tree
    )
    found, _ = lax.scan(oldest_first, scaled, (order, shares))
    return Field.of(found.tensors, x.tree)


def _as_kept(field: Field) -> Field:
    """The field as it will be kept in the weights' dtypes, so that products are those of that.

    A small damping asks for a difference of nearly equal numbers, in which nothing else cancels.
    """
    pairs = zip(field.members, field.tree.leaves, strict=True)
    tensors = (None if x is None else _rounded(x, leaf.dtype) for x, leaf in pairs)
    return Field(tuple(tensors), field.tree.plain)


def _rounded(x: jax.Array, dtype: str) -> jax.Array:
    """A tensor rounded to a dtype. XLA may leave out a cast there and back, and not this."""
    if jnp.dtype(dtype).itemsize >= x.dtype.itemsize:
        return x
    kept = jnp.finfo(dtype)  # type: ignore[no-untyped-call]  # jax has none
    return lax.reduce_precision(x, kept.nexp, kept.nmant)


def _row(rows: Field, place: jax.Array) -> Field:
    """One field of a history."""
    tensors = (
        None if row is None else lax.dynamic_index_in_dim(row, place, 0, keepdims=False)
        for row in rows.tensors
    )
    return Field(tuple(tensors), rows.tree)


def _plus(x: Field, factor: jax.Array, y: Field) -> Field:
    """The sum of x and `factor` times y, in the dtypes of x."""
    tensors = (
        None if a is None or b is None else a + factor.astype(a.dtype) * b.astype(a.dtype)
        for a, b in zip(x.tensors, y.tensors, strict=True)
    )
    return Field(tuple(tensors), x.tree)


def _times(rows: Field, x: Field) -> jax.Array:
    """The inner product of each kept field with another."""
    pairs = zip(rows.tensors, x.members, strict=True)
    return _added(
        [_contracted(row, t[None])[:, 0] for row, t in pairs if row is not None and t is not None]
    )


def _products(rows: Field) -> jax.Array:
    """The inner products of all pairs of kept fields."""
    return _added([_contracted(row, row) for row in rows.tensors if row is not None])


def _contracted(a: Any, b: Any) -> jax.Array:
    """The inner products of the rows of two stacks; of shape (places of a, places of b)."""
    axes = tuple(range(1, a.ndim))
    b = b.astype(a.dtype)
    return jnp.tensordot(a, b, (axes, axes), precision=lax.Precision.HIGHEST)


def _combined(rows: jax.Array, weights: jax.Array) -> jax.Array:
    """The sum of the kept tensors, each times its weight."""
    return jnp.tensordot(weights.astype(rows.dtype), rows, 1, precision=lax.Precision.HIGHEST)


def _added(parts: list[jax.Array]) -> jax.Array:
    """The sum of what the tensors gave, as wide as scalars are."""
    wide = [part.astype(jnp.result_type(float)) for part in parts]
    return reduce(jnp.add, wide)
