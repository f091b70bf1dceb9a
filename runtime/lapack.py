"""Factorisations, on CPU of one matrix after the other, however many there are.

On CPU they are calls of LAPACK. jaxlib runs a call on several matrices in the thread pool of XLA:
the thread that makes the call hands out shares and waits for them, and as many such calls at once
as there are threads wait for ever (jaxlib 0.10: two on two cores, as with a factor for each side).
A call on one matrix runs where it is. So no call here is on more, also under `vmap`. XLA still
works on several matrices at once where their calls stand side by side.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap


def eigh(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues, ascending, and eigenvectors of symmetric matrices."""
    values, vectors = one_by_one(jnp.linalg.eigh, a)
    return values, vectors


def eigvalsh(a: jax.Array) -> jax.Array:
    """Eigenvalues of symmetric matrices, ascending."""
    values: jax.Array = one_by_one(jnp.linalg.eigvalsh, a)
    return values


def qr(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The factors of a = QR, with as many columns of Q as the smaller side."""
    q, r = one_by_one(jnp.linalg.qr, a)
    return q, r


def svd(a: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The factors of a = USV', with as many singular values as the smaller side."""
    u, s, vt = one_by_one(partial(jnp.linalg.svd, full_matrices=False), a)
    return u, s, vt


def cholesky(a: jax.Array) -> jax.Array:
    """The lower triangular factor of a symmetric positive matrix, NaN where there is none."""
    factor: jax.Array = one_by_one(jnp.linalg.cholesky, a)
    return factor


def solve(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a^(-1) b`, of matrices both."""
    found: jax.Array = one_by_one(jnp.linalg.solve, a, b)
    return found


def solve_triangular(a: jax.Array, b: jax.Array, lower: bool) -> jax.Array:
    """`a^(-1) b` where `a` is triangular."""
    found: jax.Array = one_by_one(
        partial(lax.linalg.triangular_solve, left_side=True, lower=lower), a, b
    )
    return found


def one_by_one(fn: Callable[..., Any], *arrays: jax.Array) -> Any:
    """`fn` of each matrix of `x[..., rows, columns]`, on CPU one after the other."""
    if jax.default_backend() != "cpu":
        return fn(*arrays)

    def factor(*matrices: jax.Array) -> Any:
        return fn(*matrices)

    # What is differentiated goes the ordinary way: a sequential map has no derivative backwards.
    alone = jax.custom_jvp(sequential_vmap(factor))  # type: ignore[no-untyped-call]  # jax has none
    alone.defjvp(partial(jax.jvp, factor))
    before = jnp.broadcast_shapes(*(x.shape[:-2] for x in arrays))
    if not before:
        return alone(*arrays)
    matrices = [jnp.broadcast_to(x, (*before, *x.shape[-2:])) for x in arrays]
    found = jax.vmap(alone)(*(x.reshape(prod(before), *x.shape[-2:]) for x in matrices))
    return jax.tree.map(lambda x: x.reshape(*before, *x.shape[1:]), found)
