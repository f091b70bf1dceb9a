"""Constraints against optax's projections and the identities of their method pages."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from interpreted import Run, stages

RNG = np.random.default_rng(5)
MATRIX = RNG.normal(size=(4, 3))
VECTOR = RNG.normal(size=(6,))


def constrained(constraint, weights, gradient, lr=1.0, steps=1):
    """The weights after some steps along one gradient under a constraint."""
    run = Run(stages("...", f"constrain {constraint}", step=f"tune step {lr}"), weights)
    for _ in range(steps):
        run.step(gradient)
    return run.weights


def projected(projection, *args):
    """A projection of optax on a list of arrays, in float64."""
    with jax.enable_x64(True):
        found = projection([jnp.asarray(x) for x in args[0]], *args[1:])
        return [np.asarray(x) for x in found]


def assert_same(found, expected, rtol=1e-13):
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-14)


PROJECTIONS = {
    "nonnegative()": (optax.projections.projection_non_negative,),
    "box(-0.5, 0.75)": (optax.projections.projection_box, [-0.5] * 2, [0.75] * 2),
    "l2_ball(0.7)": (optax.projections.projection_l2_ball, 0.7),
    "l2_ball(70)": (optax.projections.projection_l2_ball, 70.0),
}


@pytest.mark.parametrize("constraint", PROJECTIONS)
def test_a_constraint_is_the_projection_of_optax(constraint):
    projection, *args = PROJECTIONS[constraint]
    found = constrained(constraint, [MATRIX, VECTOR], [0.3 * MATRIX, -VECTOR], lr=0.5)
    expected = projected(projection, [0.85 * MATRIX, 1.5 * VECTOR], *args)
    assert_same(found, expected)


@pytest.mark.parametrize("total", [1.0, 0.01, 30.0])
def test_the_simplex_is_that_of_optax_for_each_tensor(total):
    weights = [MATRIX, VECTOR, np.array([5.0, -1.0, 4.9]), np.array(2.0), np.ones(7)]
    found = constrained(f"simplex({total})", weights, [np.zeros_like(w) for w in weights])
    for x, w in zip(found, weights, strict=True):
        (expected,) = projected(optax.projections.projection_simplex, [np.ravel(w)], total)
        np.testing.assert_allclose(np.ravel(x), expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(x.sum(), total, rtol=1e-12)


def test_nonnegative_is_the_last_of_an_optax_chain():
    with jax.enable_x64(True):
        tx = optax.chain(optax.scale(-0.5), optax.keep_params_nonnegative())
        params = [jnp.asarray(np.abs(MATRIX))]
        updates, _ = tx.update([jnp.asarray(3 * MATRIX)], tx.init(params), params)
        expected = np.asarray(optax.apply_updates(params, updates)[0])
    (found,) = constrained("nonnegative()", [np.abs(MATRIX)], [3 * MATRIX], lr=0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("per", "axes"), [("tensor", (0, 1)), ("unit", 0), ("row", 1), ("column", 0)]
)
def test_unit_norms_have_length_one_and_zeros_stay(per, axes):
    (found, zeros) = constrained(
        f'unit_norm("{per}")', [MATRIX, np.zeros((2, 2))], [0 * MATRIX, np.zeros((2, 2))]
    )
    lengths = np.linalg.norm(MATRIX, axis=axes, keepdims=True)
    np.testing.assert_allclose(found, MATRIX / lengths, rtol=1e-14)
    np.testing.assert_array_equal(zeros, 0)


def test_max_norm_shortens_the_units_that_are_long():
    lengths = np.linalg.norm(MATRIX, axis=0)
    limit = float(np.sort(lengths)[1])
    (found,) = constrained(f"max_norm({limit!r})", [MATRIX], [0 * MATRIX])
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), np.minimum(lengths, limit))


def test_balanced_units_have_mean_zero_and_length_one():
    (found,) = constrained("balanced()", [MATRIX], [0 * MATRIX])
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, rtol=1e-14)


# ---- exponentiated gradient


THETA = np.array([0.5, -2.0, 3.0, -0.01])
G = np.array([1.0, 0.3, -2.0, 5.0])


def test_signs_never_change_and_zero_stays_zero():
    weights = np.array([0.5, -2.0, 0.0, 1e-300])
    with np.errstate(over="ignore"):
        for size in (1.0, 1e3, -1e3):
            (found,) = constrained("exponentiated()", [weights], [np.full(4, size)], lr=0.3)
            assert (np.sign(found) * np.sign(weights) >= 0).all()
            assert found[2] == 0
        (found,) = constrained("exponentiated(1e-12)", [weights], [np.full(4, 1e3)])
    np.testing.assert_allclose(found, [1e-12, -np.inf, 0, 1e-12])


def test_it_is_mirror_descent():
    """sign log|theta| moves by -lr g."""
    (found,) = constrained("exponentiated()", [THETA], [G], lr=0.1)
    moved = np.sign(THETA) * (np.log(np.abs(found)) - np.log(np.abs(THETA)))
    np.testing.assert_allclose(moved, -0.1 * G, rtol=1e-12)


def test_under_a_constant_gradient_the_logarithm_is_linear_in_time():
    (found,) = constrained("exponentiated()", [THETA], [G], lr=0.1, steps=9)
    expected = np.log(np.abs(THETA)) - 9 * 0.1 * np.sign(THETA) * G
    np.testing.assert_allclose(np.log(np.abs(found)), expected, rtol=1e-12)


def test_small_steps_are_gradient_descent_with_the_rate_of_each_weight():
    """theta - lr |theta| g, up to the square of the step over two."""
    for lr in (1e-2, 1e-3):
        (found,) = constrained("exponentiated()", [THETA], [G], lr=lr)
        error = np.abs(found - (THETA - lr * np.abs(THETA) * G))
        assert (error <= 0.51 * np.abs(THETA) * np.exp(lr * np.abs(G)) * (lr * G) ** 2).all()


def test_the_pair_is_two_positive_weights():
    """theta = p - q with p, q > 0, p q = scale^2, each multiplied on each step."""
    scale, lr = 0.2, 0.1
    root = np.sqrt(THETA**2 + 4 * scale**2)
    p, q = (root + THETA) / 2, (root - THETA) / 2
    found = constrained(f"exponentiated_pair({scale})", [THETA], [G], lr=lr, steps=6)
    p, q = p * np.exp(-6 * lr * G), q * np.exp(6 * lr * G)
    np.testing.assert_allclose(found[0], p - q, rtol=1e-11)
    np.testing.assert_allclose(p * q, scale**2, rtol=1e-12)


def test_from_zero_the_pair_is_a_hyperbolic_sine():
    (found,) = constrained("exponentiated_pair(0.2)", [np.zeros(4)], [G], lr=0.1, steps=5)
    np.testing.assert_allclose(found, 2 * 0.2 * np.sinh(-0.1 * 5 * G), rtol=1e-12)


def test_on_the_simplex_the_sum_is_one_and_a_constant_gradient_does_nothing():
    start = np.array([0.1, 0.2, 0.3, 0.4])
    (found,) = constrained("exponentiated_simplex()", [start], [G], lr=0.5, steps=3)
    expected = start * np.exp(-1.5 * G)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-13)
    (shifted,) = constrained("exponentiated_simplex()", [start], [G + 700.0], lr=0.5, steps=3)
    np.testing.assert_allclose(shifted, found, rtol=1e-11)


def test_decay_commutes_with_the_exponent():
    lines = ("constrain exponentiated()", "constrain shrink(0.2)")
    run = Run(stages("...", *lines, step="tune step 0.1"), [THETA])
    run.step([G])
    expected = THETA * (1 - 0.1 * 0.2) * np.exp(-0.1 * np.sign(THETA) * G)
    np.testing.assert_allclose(run.weights[0], expected, rtol=1e-14)


def test_dale_keeps_the_sign_of_birth_through_zero():
    """A weight that was cut to 0 comes back to its own side, and never to the other."""
    run = Run(stages("...", "constrain dale()"), [np.array([1.0, -1.0, 0.0])])
    run.step([np.array([2.0, -2.0, 1.0])])
    np.testing.assert_array_equal(run.weights[0], [0, 0, 0])
    run.step([np.array([1.0, -1.0, 1.0])])
    np.testing.assert_array_equal(run.weights[0], [0, 0, 0])
    run.step([np.array([-3.0, 3.0, -1.0])])
    np.testing.assert_array_equal(run.weights[0], [3, -3, 0])
