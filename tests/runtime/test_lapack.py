"""On CPU no call of LAPACK is on more than one matrix: two of them may wait for each other."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from optc.runtime import lapack

N = 5
"""Rows and columns."""

FUNCTIONS = {
    "eigh": lambda a: lapack.eigh(a @ a.mT)[0],
    "eigvalsh": lambda a: lapack.eigvalsh(a @ a.mT),
    "qr": lambda a: lapack.qr(a)[1],
    "svd": lambda a: lapack.svd(a)[1],
    "cholesky": lambda a: lapack.cholesky(a @ a.mT),
    "solve": lambda a: lapack.solve(a, a.mT),
    "solve_triangular": lambda a: lapack.solve_triangular(jnp.tril(a), a, lower=True),
}


def test_a_call_is_on_one_matrix_under_vmap_and_with_axes_before():
    a = jax.random.normal(jax.random.key(0), (2, 3, N, N)) + 3 * jnp.eye(N)

    @jax.jit
    def all_of_them(a):
        return [(fn(a), jax.vmap(jax.vmap(fn))(a)) for fn in FUNCTIONS.values()]

    compiled = all_of_them.lower(a).compile()
    calls = re.findall(r"= (.*) custom-call\(.*lapack_\w+", compiled.as_text())
    assert calls
    assert all(max(map(len, _shapes(call))) <= 2 for call in calls)
    for fn, found in zip(FUNCTIONS.values(), compiled(a), strict=True):
        one = [[fn(a[i, j]) for j in range(3)] for i in range(2)]
        np.testing.assert_allclose(found[0], one, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found[1], one, rtol=1e-4, atol=1e-4)


def _shapes(call):
    """The shapes of what a call gives."""
    return [shape.split(",") for shape in re.findall(r"\w+\[([\d,]*)\]", call)]


def test_what_they_do_can_be_differentiated_backwards():
    a = jnp.diag(jnp.arange(1.0, 4.0))
    slope = jax.grad(lambda a: lapack.eigh(a)[0][2])(a)
    np.testing.assert_allclose(slope, jnp.diag(jnp.array([0.0, 0.0, 1.0])), atol=1e-6)


def test_there_may_be_no_matrix_at_all():
    assert lapack.qr(jnp.zeros((0, N, N)))[0].shape == (0, N, N)
