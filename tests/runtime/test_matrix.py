"""Matrix functions against NumPy, on matrices that are square, long, wide, single and stacked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc.runtime import matrix

SHAPES = [(5, 3), (2, 3, 4, 4), (1, 4)]
SQUARE = [(2, 3, 4, 4), (1, 1)]
ROUNDING = 1e-12
"""float64, by a method that is backward stable, on matrices of condition 1e3 at most."""


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def general(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def positive(shape, seed=0):
    """Symmetric, with eigenvalues 1, 2, 3, ... in a random basis."""
    q = np.linalg.qr(general(shape, seed))[0]
    return (q * np.arange(1.0, shape[-1] + 1)) @ q.swapaxes(-1, -2)


def transposed(a):
    return np.swapaxes(a, -1, -2)


def assert_close(given, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", SQUARE)
def test_roots_and_powers_of_positive_matrices_multiply_to_the_matrix(shape):
    a = positive(shape)
    root = matrix.inverse_root(a, 4)
    identity = np.broadcast_to(np.eye(shape[-1]), shape)
    assert_close(root @ root @ root @ root @ a, identity)
    assert_close(root, transposed(root), 1e-15)
    assert_close(matrix.matrix_power(a, 0.3) @ matrix.matrix_power(a, 0.7), a)


@pytest.mark.parametrize("shape", SQUARE)
def test_an_eigenbasis_has_decreasing_eigenvalues_and_one_sign(shape):
    a = positive(shape)
    n = shape[-1]
    q = np.asarray(matrix.eigenbasis(a))
    decreasing = np.broadcast_to(np.arange(n, 0.0, -1), shape[:-1])
    assert_close(matrix.diagonal(transposed(q) @ a @ q), decreasing)
    assert_close(matrix.eigenvalues(a), decreasing)
    assert (np.cos(np.arange(n)) @ q > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_orthonormal_factor_is_that_of_a_triangle_with_positive_diagonal(shape):
    a = general(shape)
    q, beyond = np.split(matrix.orthonormal(a), [min(shape[-2:])], axis=-1)
    assert not beyond.any()
    r = transposed(q) @ a
    assert_close(q @ r, a)
    assert_close(
        transposed(q) @ q,
        np.broadcast_to(np.eye(min(shape[-2:])), (*shape[:-2], *q.shape[-1:] * 2)),
    )
    assert_close(np.tril(r, -1), 0 * r)
    assert (np.diagonal(r, axis1=-2, axis2=-1) > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_polar_factor_is_the_one_of_the_singular_vectors(shape):
    a = general(shape)
    u, _, vt = np.linalg.svd(a, full_matrices=False)
    assert_close(matrix.polar(a), u @ vt)


def test_the_polar_factor_leaves_out_what_is_zero():
    a = np.outer([3.0, 4.0], [0.0, 0.0, 2.0])
    assert_close(matrix.polar(a), np.outer([0.6, 0.8], [0, 0, 1]))
    assert_close(matrix.polar(np.zeros((2, 3))), np.zeros((2, 3)), 0)


@pytest.mark.parametrize("shape", SQUARE)
def test_cholesky_and_solve_undo_products(shape):
    a = positive(shape)
    lower = np.asarray(matrix.cholesky(a))
    b, v = general(shape, 1), general(shape[:-1], 2)
    assert_close(lower @ transposed(lower), a)
    assert_close(matrix.solve(a, a @ b), b)
    assert_close(matrix.solve(lower, lower @ b, triangular="lower"), b)
    upper = transposed(lower)
    assert_close(matrix.solve(upper, np.einsum("...ij,...j", upper, v), "upper"), v)


def test_sorting_and_taking_work_place_by_place():
    x, v = general((2, 3, 4)), general((2, 4), 1)
    order = matrix.argsort(v, descending=True)
    np.testing.assert_array_equal(order, np.argsort(-v, axis=-1, kind="stable"))
    for i in range(2):
        np.testing.assert_array_equal(matrix.take(x, order)[i], x[i][:, order[i]])
        np.testing.assert_array_equal(matrix.take(x.mT, order, -2)[i], x[i].T[order[i]])
        np.testing.assert_array_equal(matrix.take(v, order)[i], v[i][order[i]])
    leading = matrix.take(x, matrix.arange(x, 2))
    np.testing.assert_array_equal(leading, x[..., :2])


def test_ties_keep_their_order_and_nan_is_last():
    v = jnp.array([1.0, jnp.nan, 2.0, 1.0])
    assert matrix.argsort(v, descending=True).tolist() == [2, 0, 3, 1]
    assert matrix.argsort(v).tolist() == [0, 3, 2, 1]


def test_an_index_beyond_the_end_gives_nan():
    assert np.isnan(matrix.take(jnp.ones((2, 2)), matrix.arange(jnp.ones((2, 2)), 3))[:, 2]).all()


def test_what_is_made_has_the_lengths_of_a_tensor_or_its_own():
    like = jnp.zeros((2, 3, 4))
    assert_close(matrix.eye(like, -2), np.stack([np.eye(3)] * 2), 0)
    assert matrix.eye(like, 5).shape == (2, 5, 5)
    assert matrix.filled(like, 0.5, -1, 6).shape == (2, 4, 6)
    assert matrix.arange(like, -1).tolist() == [[0, 1, 2, 3]] * 2
    assert_close(matrix.trace(matrix.eye(like, -1)), np.full((2, 1, 1), 4.0), 0)
    v = general((2, 3))
    assert_close(matrix.diagonal(matrix.diagonal_matrix(v)), v, 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_narrow_floats_are_computed_in_float32(dtype):
    computed = "float64" if dtype == "float64" else "float32"
    a = jnp.eye(3, dtype=dtype)
    for fn in (matrix.orthonormal, matrix.eigenbasis, matrix.polar, matrix.cholesky):
        assert fn(a).dtype == computed
    assert matrix.eye(a, -1).dtype == matrix.inverse_root(a, 2).dtype == computed


FACTORS = {
    "inverse_root": lambda a, **kept: matrix.inverse_root(a, 4, **kept),
    "matrix_power": lambda a, **kept: matrix.matrix_power(a, 0.5, **kept),
    "eigenbasis": matrix.eigenbasis,
    "orthonormal": matrix.orthonormal,
    "polar": matrix.polar,
    "cholesky": matrix.cholesky,
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_matrix_without_a_factor_keeps_the_old_one_and_its_neighbours_their_new(name):
    """Matrices with NaN and infinity have no factor; without `otherwise` it is NaN."""
    factor = FACTORS[name]
    a = np.stack([positive((3, 3)), np.full((3, 3), np.nan), positive((3, 3), 1)])
    a[1] = np.diag([1.0, np.inf, 2.0])
    old = general((3, 3, 3))
    found, kept = factor(a), factor(a, otherwise=old)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(kept[1], old[1])
    for i in (0, 2):
        np.testing.assert_array_equal(kept[i], found[i])
        assert_close(found[i], factor(a[i]))


def test_what_is_not_positive_has_no_cholesky_factor_and_zero_no_inverse_root():
    old = jnp.eye(2)
    assert_close(matrix.cholesky(-old, otherwise=2 * old), 2 * old, 0)
    assert_close(matrix.inverse_root(0 * old, 4, otherwise=2 * old), 2 * old, 0)
    assert_close(matrix.matrix_power(0 * old, 0.5), 0 * old, 0)


def test_an_unsolvable_system_gives_what_was_asked_for_otherwise():
    a = jnp.stack([jnp.zeros((2, 2)), jnp.eye(2)])
    b = jnp.ones((2, 2))
    assert_close(matrix.solve(a, b, otherwise=3 * b), [[3, 3], [1, 1]], 0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_eigenvalues_below_the_noise_count_as_the_noise(scale):
    """In float32, for a matrix of rank 1: the largest root is right, the others are bounded."""
    v = np.float32([0.6, 0.8])
    a = jnp.asarray(np.float32(scale) * np.outer(v, v), jnp.float32)
    root = matrix.inverse_root(a, 4)
    eps = np.finfo(np.float32).eps
    assert_close(v @ root @ v * scale**0.25, 1.0, 1e-5)
    largest = np.linalg.norm(root, 2) * scale**0.25
    assert 0.9 * eps**-0.25 < largest < 1.1 * eps**-0.25


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_factors_do_not_depend_on_the_scale(scale):
    a = jnp.asarray(positive((4, 4)), jnp.float32)
    scaled = a * np.float32(scale)
    for fn in (matrix.orthonormal, matrix.polar, matrix.eigenbasis):
        assert_close(fn(scaled), fn(a), 1e-5)
