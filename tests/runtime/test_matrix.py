"""What factors of matrices are, by what they satisfy; NumPy's are in the compiler's tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc.runtime import matrix

ROUNDING = 1e-12
"""float64, by a method that is backward stable, on matrices of condition 1e3 at most."""


def general(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def positive(*shape, seed=0):
    """Symmetric, with eigenvalues 1, 2, 3, ... in a random basis."""
    q = np.linalg.qr(general(*shape, seed=seed))[0]
    return (q * np.arange(1.0, shape[-1] + 1)) @ transposed(q)


def transposed(a):
    return np.swapaxes(a, -1, -2)


def run(fn, *args):
    """What a function gives, as NumPy arrays in float64; compiled as one program."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(fn)(*args))


def assert_close(given, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)


def test_roots_and_powers_of_positive_matrices_multiply_to_the_matrix():
    a = positive(2, 3, 4, 4)
    powers = (matrix.inverse_root, 4), (matrix.matrix_power, 0.3), (matrix.matrix_power, 0.7)
    root, less, more = run(lambda a: [power(a, p) for power, p in powers], a)
    assert_close(root @ root @ root @ root @ a, np.broadcast_to(np.eye(4), a.shape))
    assert_close(root, transposed(root), 1e-15)
    assert_close(less @ more, a)


def test_an_eigenbasis_has_decreasing_eigenvalues_and_one_sign():
    a = positive(2, 3, 4, 4)
    q, values = run(lambda a: (matrix.eigenbasis(a), matrix.eigenvalues(a)), a)
    decreasing = np.broadcast_to(np.arange(4, 0.0, -1), a.shape[:-1])
    assert_close(np.diagonal(transposed(q) @ a @ q, axis1=-2, axis2=-1), decreasing)
    assert_close(values, decreasing)
    assert (np.cos(np.arange(4)) @ q > 0).all()


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 5)])
def test_orthonormal_and_polar_factors(shape):
    """Q'a is a triangle with a positive diagonal; P'a is symmetric and positive, or aP' is."""
    a = general(*shape)
    q, p = run(lambda a: (matrix.orthonormal(a), matrix.polar(a)), a)
    small = min(shape[-2:])
    identity = np.broadcast_to(np.eye(small), (*shape[:-2], small, small))
    basis = q[..., :small]
    r = transposed(basis) @ a
    assert_close(transposed(basis) @ basis, identity)
    assert_close(basis @ r, a)
    assert_close(np.tril(r, -1), 0 * r)
    assert (np.diagonal(r, axis1=-2, axis2=-1) > 0).all()
    assert not q[..., small:].any()
    on_small = transposed(p) @ a if shape[-1] == small else a @ transposed(p)
    gram = transposed(p) @ p if shape[-1] == small else p @ transposed(p)
    assert_close(gram, identity)
    assert_close(on_small, transposed(on_small))
    assert (np.linalg.eigvalsh(on_small) > 0).all()


def test_a_polar_factor_leaves_out_what_is_zero():
    a = np.stack([np.outer([3.0, 4.0], [0.0, 0.0, 2.0]), np.zeros((2, 3))])
    one, zero = run(matrix.polar, a)
    assert_close(one, np.outer([0.6, 0.8], [0, 0, 1]))
    assert not zero.any()


def test_cholesky_and_solve_undo_products():
    a, b, v = positive(2, 4, 4), general(2, 4, 3, seed=1), general(2, 4, seed=2)
    lower = np.linalg.cholesky(a)
    upper = transposed(lower)

    def solutions(a, b, v):
        whole = matrix.solve(a, jnp.matmul(a, b))
        below = matrix.solve(lower, jnp.matmul(lower, b), triangular="lower")
        above = matrix.solve(upper, jnp.matvec(upper, v), triangular="upper")
        return matrix.cholesky(a), whole, below, above

    for given, expected in zip(run(solutions, a, b, v), (lower, b, b, v), strict=True):
        assert_close(given, expected)


def test_sorting_and_taking_work_place_by_place():
    x, v = general(2, 4, 4), general(2, 4, seed=1)
    v[0, 1], v[1, 2], v[1, 3] = np.nan, 0.5, 0.5

    def taken(x, v):
        order = matrix.argsort(v, descending=True)
        kept = [matrix.take(x, order, axis) for axis in (-1, -2)]
        beyond = matrix.take(x, matrix.arange(x, 6))
        return order, *kept, matrix.take(v, order), beyond

    order, columns, rows, entries, beyond = run(taken, x, v)
    np.testing.assert_array_equal(order, np.argsort(-v, axis=-1, kind="stable"))
    assert order[0, -1] == 1
    for i in range(2):
        np.testing.assert_array_equal(columns[i], x[i][:, order[i]])
        np.testing.assert_array_equal(rows[i], x[i][order[i]])
        np.testing.assert_array_equal(entries[i], v[i][order[i]])
    np.testing.assert_array_equal(beyond[..., :4], x)
    assert np.isnan(beyond[..., 4:]).all()


def test_what_is_made_has_the_lengths_of_a_tensor_or_its_own():
    like = np.zeros((2, 3, 4))
    v = general(2, 3)

    def made(like, v):
        square = matrix.eye(like, -1)
        ends = matrix.trace(square), matrix.diagonal(matrix.diagonal_matrix(v))
        return matrix.eye(like, -2), matrix.eye(like, 5), matrix.filled(like, 0.5, -1, 6), *ends

    rows, five, filled, four, vector = run(made, like, v)
    assert_close(rows, np.stack([np.eye(3)] * 2), 0)
    assert five.shape == (2, 5, 5)
    assert filled.shape == (2, 4, 6)
    assert_close(four, np.full((2, 1, 1), 4.0), 0)
    assert_close(vector, v, 0)


FACTORS = {
    "inverse_root": lambda a, **kept: matrix.inverse_root(a, 4, **kept),
    "matrix_power": lambda a, **kept: matrix.matrix_power(a, 0.5, **kept),
    "eigenbasis": matrix.eigenbasis,
    "orthonormal": matrix.orthonormal,
    "polar": matrix.polar,
    "cholesky": matrix.cholesky,
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_narrow_floats_are_computed_in_float32(dtype):
    computed = "float64" if dtype == "float64" else "float32"
    with jax.enable_x64(True):
        like = jax.ShapeDtypeStruct((3, 3), dtype)
        for fn in (*FACTORS.values(), lambda a: matrix.eye(a, -1)):
            assert jax.eval_shape(fn, like).dtype == computed


@pytest.mark.parametrize("name", FACTORS)
def test_a_matrix_without_a_factor_keeps_the_old_one_and_its_neighbours_their_new(name):
    """Matrices with infinity or NaN have no factor; without `otherwise` it is NaN."""
    factor = FACTORS[name]
    a = positive(4, 3, 3)
    a[1, 0, 0], a[2, 0, 1] = np.inf, np.nan
    old = general(4, 3, 3)
    found, kept = run(lambda a: (factor(a), factor(a, otherwise=old)), a)
    assert np.isnan(found[1:3]).all()
    np.testing.assert_array_equal(kept[1:3], old[1:3])
    np.testing.assert_array_equal(kept[::3], found[::3])
    assert np.isfinite(found[::3]).all()


def test_what_is_not_positive_has_no_cholesky_factor_and_zero_no_inverse_root():
    identity = np.eye(2)

    def factors(a):
        old = 2 * a
        root = matrix.inverse_root(0 * a, 4, otherwise=old)
        return matrix.cholesky(-a, otherwise=old), root, matrix.matrix_power(0 * a, 0.5)

    of_negative, of_zero, power = run(factors, identity)
    assert_close(of_negative, 2 * identity, 0)
    assert_close(of_zero, 2 * identity, 0)
    assert_close(power, 0 * identity, 0)


def test_an_unsolvable_system_gives_what_was_asked_for_otherwise():
    a, b = np.stack([np.zeros((2, 2)), np.eye(2)]), np.ones((2, 2))
    found = run(lambda a, b: matrix.solve(a, b, otherwise=3 * b), a, b)
    assert_close(found, [[3, 3], [1, 1]], 0)


def test_eigenvalues_below_the_noise_count_as_the_noise_and_no_factor_minds_the_scale():
    """In float32, for matrices of rank 1 and of full rank, large and small by 30 and 25 decades."""
    v, eps = np.float32([0.6, 0.8]), np.finfo(np.float32).eps
    for scale in np.float32([1e-30, 1e30]):
        root = run(lambda a: matrix.inverse_root(a, 4), scale * np.outer(v, v)) * scale**0.25
        assert_close(v @ root @ v, 1.0, 1e-5)
        assert 0.9 * eps**-0.25 < np.linalg.norm(root, 2) < 1.1 * eps**-0.25
    a = positive(4, 4).astype(np.float32)
    scaled = np.stack([a, np.float32(1e-25) * a, np.float32(1e25) * a])
    for fn in (matrix.orthonormal, matrix.polar, matrix.eigenbasis):
        one, *others = run(fn, scaled)
        for other in others:
            assert_close(other, one, 1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_number_among_many_that_is_not_finite_leaves_the_old_factor(value):
    """XLA reduces 4096 numbers in another way than few."""
    old = 2 * jnp.eye(64)
    found = jax.jit(matrix.cholesky)(jnp.eye(64).at[3, 4].set(value), old)
    assert np.array_equal(found, old)
