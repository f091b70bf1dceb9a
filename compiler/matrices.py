"""What matrix ops mean, in NumPy float64, for `x[..., rows, cols]`.

A factor of a matrix that is not finite is NaN, and so is one that the method cannot find;
`otherwise` stands for it then, matrix by matrix. The eigenvalues of a matrix that should be
positive are noise below epsilon times the largest: roots and powers take them for that much.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_EPS = float(np.finfo(np.float64).eps)


def eye(shape: tuple[int, ...]) -> Array:
    """The identity, for each place of the axes before the last."""
    return np.broadcast_to(np.eye(shape[-1]), (*shape, shape[-1])).copy()


def arange(shape: tuple[int, ...]) -> Array:
    """The indices below the last length."""
    return np.broadcast_to(np.arange(shape[-1]), shape).copy()


def matmul(a: Array, b: Array) -> Array:
    """The product of two matrices."""
    return np.asarray(a @ b)


def matvec(a: Array, v: Array) -> Array:
    """The product of a matrix and a vector."""
    return np.asarray((a @ v[..., None])[..., 0])


def transpose(a: Array) -> Array:
    """The transpose."""
    return np.swapaxes(a, -1, -2)


def trace(a: Array) -> Array:
    """The sum of the diagonal: one number for each matrix, in its rank."""
    return np.asarray(np.trace(a, axis1=-2, axis2=-1))[..., None, None]


def diagonal(a: Array) -> Array:
    """The diagonal, a vector."""
    return np.diagonal(a, axis1=-2, axis2=-1).copy()


def diagonal_matrix(v: Array) -> Array:
    """The square matrix with this diagonal."""
    return np.asarray(v[..., None] * np.eye(v.shape[-1]))


def triu(a: Array) -> Array:
    """The part on and above the diagonal."""
    return np.triu(a)


def tril(a: Array) -> Array:
    """The part on and below the diagonal."""
    return np.tril(a)


def onto_matrix(x: Array) -> Array:
    """The numbers of a vector in the rank of a matrix."""
    return np.asarray(x)[..., None]


def onto_vector(x: Array) -> Array:
    """The numbers of a matrix in the rank of a vector."""
    return np.asarray(x)[..., 0]


def inverse_root(a: Array, k: float, otherwise: Array | None = None) -> Array:
    """`a^(-1/k)` of a symmetric positive matrix."""
    return matrix_power(a, -1 / k, otherwise)


def matrix_power(a: Array, p: float, otherwise: Array | None = None) -> Array:
    """`a^p` of a symmetric positive matrix."""

    def power(a: Array) -> Array:
        values, vectors = np.linalg.eigh(a)
        powers = np.maximum(values, _EPS * values[-1]) ** p
        return np.asarray((vectors * powers) @ vectors.T)

    return _each(power, a, otherwise)


def eigenbasis(a: Array, otherwise: Array | None = None) -> Array:
    """The eigenvectors of a symmetric matrix as columns, by decreasing eigenvalue.

    Each has the sign with which its product with (cos 0, cos 1, ...) is positive.
    """

    def basis(a: Array) -> Array:
        vectors = np.linalg.eigh(a)[1][:, ::-1]
        return np.asarray(vectors * _sign(np.cos(np.arange(len(a))) @ vectors))

    return _each(basis, a, otherwise)


def eigenvalues(a: Array, otherwise: Array | None = None) -> Array:
    """The eigenvalues of a symmetric matrix, decreasing."""
    return _each(lambda a: np.linalg.eigvalsh(a)[::-1], a, otherwise)


def orthonormal(a: Array, otherwise: Array | None = None) -> Array:
    """The factor Q of a = QR with a diagonal of R that is not negative; beyond a square, zeros."""

    def factor(a: Array) -> Array:
        q, r = np.linalg.qr(a)
        found = np.zeros(np.shape(a))
        found[:, : q.shape[1]] = q * _sign(np.diagonal(r))
        return found

    return _each(factor, a, otherwise)


def polar(a: Array, otherwise: Array | None = None) -> Array:
    """UV' of a = USV', without the directions in which `a` is zero up to rounding."""

    def factor(a: Array) -> Array:
        u, s, vt = np.linalg.svd(a, full_matrices=False)
        return np.asarray((u * (s > max(np.shape(a)) * _EPS * s[0])) @ vt)

    return _each(factor, a, otherwise)


def cholesky(a: Array, otherwise: Array | None = None) -> Array:
    """The lower triangular factor of a symmetric positive matrix: a = CC'."""
    return _each(np.linalg.cholesky, a, otherwise)


def solve(a: Array, b: Array, otherwise: Array | None = None, triangular: str = "") -> Array:
    """`a^(-1) b` for matrices or vectors `b`; of a `triangular` matrix one half is read."""
    read = {"upper": np.triu, "lower": np.tril}.get(triangular)
    a = read(a) if read else a
    columns = b[..., None] if np.ndim(b) < np.ndim(a) else b
    found = np.empty(np.shape(columns))
    for place in np.ndindex(np.shape(a)[:-2]):
        found[place] = _tried(np.linalg.solve, a[place], columns[place])
    found = found[..., 0] if np.ndim(b) < np.ndim(a) else found
    return found if otherwise is None else _or(found, otherwise, np.ndim(a) - 2)


def gram_loop(
    y: Array, rounds: Iterable[tuple[int, Sequence[float]]], first: int | None = None
) -> Array:
    """So many rounds y <- p(yy')y, with the coefficients of p, and then those of the next sort.

    Only the first few are done, if `first` says so.
    """
    for coefficients in islice(chain.from_iterable(repeat(c, n) for n, c in rounds), first):
        gram = y @ transpose(y)
        term, total = y, coefficients[0] * y
        for coefficient in coefficients[1:]:
            term = gram @ term
            total = total + coefficient * term
        y = total
    return np.asarray(y)


def argsort(v: Array, descending: bool = False) -> Array:
    """The indices that sort a vector, equal values in their order and NaN last."""
    return np.argsort(-v if descending else v, axis=-1, kind="stable")


def take(x: Array, indices: Array, axis: int) -> Array:
    """The rows, columns or entries with these indices; NaN where there are none."""
    if np.ndim(indices) < np.ndim(x):
        indices = np.expand_dims(indices, -1 if axis == -2 else -2)
    size = np.shape(x)[axis]
    found = np.take_along_axis(x, np.minimum(indices, size - 1), axis)
    return np.where(indices < size, found, np.nan)


def _each(fn: Callable[[Array], Array], a: Array, otherwise: Array | None) -> Array:
    """What a method makes of each matrix."""
    places = np.shape(a)[:-2]
    found = [_tried(fn, a[place]) for place in np.ndindex(places)]
    ends = np.shape(a)[-2:] if not found else np.shape(found[0])
    joined = np.reshape(np.asarray(found, dtype=np.float64), (*places, *ends))
    return joined if otherwise is None else _or(joined, otherwise, len(places))


def _tried(fn: Callable[..., Array], a: Array, *more: Array) -> Array:
    """What a method makes of one matrix; NaN where it fails, and for what is not finite."""
    shown = np.eye(*np.shape(a))
    if np.isfinite(a).all():
        try:
            with np.errstate(all="ignore"):
                return fn(a, *more)
        except np.linalg.LinAlgError:
            pass
    return np.full_like(fn(shown, *more), np.nan)


def _or(found: Array, otherwise: Array, leading: int) -> Array:
    axes = tuple(range(leading, np.ndim(found)))
    return np.where(np.isfinite(found).all(axis=axes, keepdims=True), found, otherwise)


def _sign(x: Array) -> Array:
    return np.where(x < 0, -1.0, 1.0)
