"""Matrix algebra on one tensor: `x[..., rows, cols]`, one matrix for each place of the axes before.

All of it is computed in float32 at least. A *length* is an axis of a tensor, counted from its end
(-2 rows, -1 columns), or a number of its own. A vector is `v[..., n]`.

Every factorisation has an outcome that is stated. A matrix that holds a value that is not finite
has NaN for its factor, and so does one on which the method fails (a Cholesky factor of what is not
positive); `otherwise` gives what stands for a factor that is not finite, matrix by matrix. The
eigenvalues of a matrix that should be positive are noise below the dtype's epsilon times the
largest: roots and powers take them for that much. Damping is the caller's own.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from . import lapack

Number: TypeAlias = jax.Array | float
_Factors: TypeAlias = Callable[[jax.Array], jax.Array]

EXACT = lax.Precision.HIGHEST
"""TF32 and its like make the diagonal of Q'PQ meaningless over a spectrum of some decades."""


def filled(like: jax.Array, value: Number, *lengths: int) -> jax.Array:
    """One number everywhere: the axes of `like` before its last two, then these lengths."""
    shape = like.shape[:-2] + tuple(_length(like, n) for n in lengths)
    return jnp.full(shape, value, _dtype(like))


def eye(like: jax.Array, length: int) -> jax.Array:
    """The identity of this length, one for each matrix of `like`."""
    n = _length(like, length)
    return jnp.broadcast_to(jnp.eye(n, dtype=_dtype(like)), (*like.shape[:-2], n, n))


def arange(like: jax.Array, length: int) -> jax.Array:
    """The indices 0, 1, ... below this length, the same for each matrix of `like`."""
    n = _length(like, length)
    return jnp.broadcast_to(jnp.arange(n), (*like.shape[:-2], n))


def trace(a: jax.Array) -> jax.Array:
    """The sum of the diagonal of each matrix, `[..., 1, 1]`."""
    return jnp.expand_dims(jnp.sum(diagonal(a), -1), (-2, -1))


def diagonal(a: jax.Array) -> jax.Array:
    """The diagonal of each matrix, a vector."""
    found: jax.Array = jnp.diagonal(a, axis1=-2, axis2=-1)
    return found


def diagonal_matrix(v: jax.Array) -> jax.Array:
    """The square matrix with this diagonal."""
    return v[..., None] * jnp.eye(v.shape[-1], dtype=v.dtype)


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """The exact product of two matrices."""
    return jnp.matmul(a, b, precision=EXACT)


def inverse_root(a: jax.Array, k: Number, otherwise: jax.Array | None = None) -> jax.Array:
    """`a^(-1/k)` of a symmetric positive matrix, by its eigenvalues."""
    return matrix_power(a, -1 / k, otherwise)


def matrix_power(a: jax.Array, p: Number, otherwise: jax.Array | None = None) -> jax.Array:
    """`a^p` of a symmetric positive matrix for any real `p`, by its eigenvalues.

    Of a matrix of zeros it is zeros for `p > 0`, and not finite for `p < 0`.
    """

    def power(a: jax.Array) -> jax.Array:
        values, vectors = lapack.eigh(a)
        noise = _epsilon(a) * values[..., -1:]
        # Half the power on both sides keeps the result positive, and what is computed in range.
        half = vectors * (jnp.maximum(values, noise) ** (p / 2))[..., None, :]
        return product(half, half.mT)

    return _guarded(power, a, otherwise)


def eigenbasis(a: jax.Array, otherwise: jax.Array | None = None) -> jax.Array:
    """The eigenvectors of a symmetric matrix as columns, by decreasing eigenvalue.

    Each has the sign with which its product with (cos 0, cos 1, cos 2, ...) is positive, so that
    all machines give the same.
    """

    def basis(a: jax.Array) -> jax.Array:
        vectors: jax.Array = lapack.eigh(a)[1][..., ::-1]
        along = jnp.cos(jnp.arange(a.shape[-1], dtype=a.dtype)) @ vectors
        return vectors * _sign(along)[..., None, :]

    return _guarded(basis, a, otherwise)


def eigenvalues(a: jax.Array, otherwise: jax.Array | None = None) -> jax.Array:
    """The eigenvalues of a symmetric matrix, a decreasing vector."""
    return _guarded(lambda a: lapack.eigvalsh(a)[..., ::-1], a, otherwise, rank=1)


def orthonormal(a: jax.Array, otherwise: jax.Array | None = None) -> jax.Array:
    """The factor Q of a = QR with a diagonal of R that is not negative, in the shape of `a`.

    Columns beyond a square have no direction left, and are zeros.
    """

    def factor(a: jax.Array) -> jax.Array:
        q, r = lapack.qr(a)
        beyond = a.shape[-1] - q.shape[-1]
        return jnp.pad(
            q * _sign(diagonal(r))[..., None, :], [(0, 0)] * (a.ndim - 1) + [(0, beyond)]
        )

    return _guarded(factor, a, otherwise)


def polar(a: jax.Array, otherwise: jax.Array | None = None) -> jax.Array:
    """UV' of a = USV', the nearest matrix whose singular values are 1, by a decomposition.

    Directions in which `a` is zero up to rounding (the larger side times epsilon times the largest
    singular value) are left out, so what is given is unique, and zero for zero.
    """

    def factor(a: jax.Array) -> jax.Array:
        u, s, vt = lapack.svd(a)
        noise = max(a.shape[-2:]) * _epsilon(a) * s[..., :1]
        return product(u * (s > noise)[..., None, :], vt)

    return _guarded(factor, a, otherwise)


def cholesky(a: jax.Array, otherwise: jax.Array | None = None) -> jax.Array:
    """The lower triangular factor of a symmetric positive matrix: a = CC'."""
    return _guarded(lapack.cholesky, a, otherwise)


def solve(
    a: jax.Array, b: jax.Array, triangular: str | None = None, otherwise: jax.Array | None = None
) -> jax.Array:
    """`a^(-1) b` for matrices or vectors `b`; `triangular` is "upper" or "lower" where `a` is."""
    columns = b[..., None] if b.ndim < a.ndim else b
    if triangular is None:
        found = lapack.solve(a, columns)
    else:
        found = lapack.solve_triangular(a, columns, triangular == "lower")
    rank = b.ndim - a.ndim + 2
    return _or(found[..., 0] if rank == 1 else found, otherwise, rank)


def argsort(v: jax.Array, descending: bool = False) -> jax.Array:
    """The indices that sort a vector, equal values in their order and NaN last."""
    return jnp.argsort(-v if descending else v, axis=-1, stable=True)


def take(x: jax.Array, indices: jax.Array, axis: int = -1) -> jax.Array:
    """The rows (axis -2) or columns (axis -1) with these indices, or the entries of a vector.

    An index beyond the end gives NaN.
    """
    if indices.ndim < x.ndim:
        indices = jnp.expand_dims(indices, -1 if axis == -2 else -2)
    return jnp.take_along_axis(x, indices, axis)


def _guarded(fn: _Factors, a: jax.Array, otherwise: jax.Array | None, rank: int = 2) -> jax.Array:
    """The factor of each matrix that is finite, NaN for the others; no method meets a NaN.

    Some methods do not end on one. `rank` counts the axes of a factor.
    """
    a = a.astype(_dtype(a))
    finite = _all_finite(a, 2)
    rows, columns = a.shape[-2:]
    found = fn(jnp.where(finite, a, jnp.eye(rows, columns, dtype=a.dtype)))
    known = finite if rank == 2 else finite[..., 0]
    return _or(jnp.where(known, found, jnp.nan), otherwise, rank)


def _or(found: jax.Array, otherwise: jax.Array | None, rank: int) -> jax.Array:
    """What was found, and `otherwise` for each matrix (or vector) that is not finite."""
    if otherwise is None:
        return found
    return jnp.where(_all_finite(found, rank), found, otherwise)


def _all_finite(x: jax.Array, rank: int) -> jax.Array:
    """Whether a matrix, or vector, has no others: all that is finite is 0 times 0 in sum.

    XLA stores a bool for each element to ask them. It need not store these; nor the largest, but
    that is no answer: XLA for CPU leaves NaN out where it looks for the largest of 4096 or more.
    """
    total = jnp.sum(0 * x, tuple(range(-rank, 0)), keepdims=True)
    return total == 0


def _sign(x: jax.Array) -> jax.Array:
    return jnp.where(x < 0, -1, 1).astype(x.dtype)


def _epsilon(x: jax.Array) -> float:
    return float(jnp.finfo(x.dtype).eps)  # type: ignore[no-untyped-call]  # jax has none


def _length(like: jax.Array, length: int) -> int:
    return like.shape[length] if length < 0 else length


def _dtype(x: jax.Array) -> jnp.dtype:
    """The dtype to compute in."""
    return jnp.promote_types(x.dtype, jnp.float32)
