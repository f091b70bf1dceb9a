"""On CPU no call of LAPACK is on more than one matrix: two of them may wait for each other."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from optc.runtime import lapack

N = 5
"""Rows and columns."""

FUNCTIONS = {
    "eigh": (lambda a: lapack.eigh(a @ a.mT)[0], lambda a: np.linalg.eigvalsh(a @ a.mT)),
    "eigvalsh": (lambda a: lapack.eigvalsh(a @ a.mT), lambda a: np.linalg.eigvalsh(a @ a.mT)),
    "qr": (lambda a: abs(lapack.qr(a)[1]), lambda a: abs(np.linalg.qr(a)[1])),
    "svd": (lambda a: lapack.svd(a)[1], lambda a: np.linalg.svd(a)[1]),
    "cholesky": (lambda a: lapack.cholesky(a @ a.mT), lambda a: np.linalg.cholesky(a @ a.mT)),
    "solve": (lambda a: lapack.solve(a, a.mT), lambda a: np.linalg.solve(a, a.mT)),
    "solve_triangular": (
        lambda a: lapack.solve_triangular(jnp.tril(a), a, lower=True),
        lambda a: np.linalg.solve(np.tril(a), a),
    ),
}
"""Ours, and NumPy's."""


def test_a_call_is_on_one_matrix_under_vmap_and_with_axes_before():
    a = np.random.default_rng(0).normal(size=(2, 3, N, N)).astype(np.float32) + 3 * np.eye(N)

    @jax.jit
    def each(a):
        return {name: jax.vmap(fn)(a) for name, (fn, _) in FUNCTIONS.items()}

    compiled = each.lower(a).compile()
    calls = re.findall(r"= (.*) custom-call\(.*lapack_\w+", compiled.as_text())
    assert calls
    assert all(max(map(len, _shapes(call))) <= 2 for call in calls)
    for name, found in compiled(a).items():
        expected = FUNCTIONS[name][1](a.astype(float))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def _shapes(call):
    """The shapes of what a call gives."""
    return [shape.split(",") for shape in re.findall(r"\w+\[([\d,]*)\]", call)]


def test_what_they_do_can_be_differentiated_backwards():
    a = jnp.diag(jnp.arange(1.0, 4.0))
    slope = jax.grad(lambda a: lapack.eigh(a)[0][2])(a)
    np.testing.assert_allclose(slope, jnp.diag(jnp.array([0.0, 0.0, 1.0])), atol=1e-6)


def test_there_may_be_no_matrix_at_all():
    assert lapack.qr(jnp.zeros((0, N, N)))[0].shape == (0, N, N)
