"""Moments in 8 bits and in bfloat16: what is stored, how far from the truth, in how many bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from shipped import program, staged

import optc

ROWS, COLUMNS = 6, 16
B1, B2 = 0.9, 0.999


def gradients(steps):
    """Rows of very different sizes, one of them zero, and a vector."""
    rng = np.random.default_rng(0)
    sizes = np.array([1e-3, 1.0, 30.0, 0.0, 1e2, 0.1])[:, None]
    return {
        "matrix": jnp.asarray(rng.normal(size=(steps, ROWS, COLUMNS)) * sizes, jnp.float32),
        "vector": jnp.asarray(rng.normal(size=(steps, 5)), jnp.float32),
        "none": None,
    }


@pytest.fixture(scope="module")
def run():
    """The states of a few steps of `adam_int8`, stacked, and the gradients."""
    tx = staged("precondition adam_int8()", "tune step 1.0")().transform()
    series = gradients(8)
    params = jax.tree.map(lambda x: x[0], series)

    @jax.jit
    def states(series):
        def step(state, g):
            update, state = tx.update(g, state, params)
            return state, (state.slots["precondition"], update)

        return lax.scan(step, tx.init(params), series)[1]

    return states(series), series


@pytest.mark.parametrize("name", ["matrix", "vector"])
def test_each_step_rounds_the_moments_within_the_row_s_step(run, name):
    (slots, _), series = run
    stored = {key: np.asarray(slots[key][name], float) for key in slots}
    assert slots["mu"][name].dtype == slots["nu_root"][name].dtype == jnp.int8
    mean, root = np.zeros_like(stored["mu"][0]), np.zeros_like(stored["mu"][0])
    for t, g in enumerate(np.asarray(series[name], float)):
        m = B1 * mean + (1 - B1) * g
        exact = np.sqrt(B2 * root**2 + (1 - B2) * g**2)
        mean = stored["mu"][t] * stored["mu_scale"][t]
        root = stored["nu_root"][t] * stored["nu_scale"][t]
        # float32 rounds the moments, the scale, and the quotient up to 127: 4 units of 2^-24 each.
        slack = 127 * 16 * 2.0**-24
        assert np.all(np.abs(mean - m) <= stored["mu_scale"][t] * (0.5 + slack))
        assert np.all(np.abs(root - exact) <= stored["nu_scale"][t] * (1 + slack))
        assert np.all((root > 0) == (exact > 0))


def test_what_is_zero_stays_and_no_divisor_rounds_to_zero(run):
    (_, updates), _ = run
    assert np.all(np.asarray(updates["matrix"])[:, 3] == 0)
    assert np.all(np.abs(np.asarray(updates["matrix"])) < 10)


def test_the_state_takes_two_bytes_for_each_weight_and_eight_for_each_row():
    params = {"matrix": jnp.ones((ROWS, COLUMNS)), "vector": jnp.ones(5)}
    state = program("adamw_int8")().init(params)
    taken = sum(x.nbytes for x in jax.tree.leaves(state.slots))
    assert taken == 2 * (ROWS * COLUMNS + 5) + 8 * (ROWS + 1)


def test_moments_of_eight_bits_train_as_those_of_32():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(64, 8)), rng.normal(size=(8, 4))
    batch = {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(x @ w, jnp.float32)}
    objective = optc.Objective(loss=lambda p, b: jnp.mean((b["x"] @ p - b["y"]) ** 2))

    def trained(name):
        optimizer = program(name)(lr=0.03, decay=0.0)
        params = jnp.zeros((8, 4))

        @jax.jit
        def go(params, state):
            def step(carry, _):
                params, state, report = optimizer.update(*carry, batch, objective)
                return (params, state), report.loss

            return lax.scan(step, (params, state), length=150)[1]

        return np.asarray(go(params, optimizer.init(params)))

    narrow, wide = trained("adamw_int8"), trained("adamw")
    assert narrow[-1] < 1e-2 * narrow[0]
    # A step's error is 1 part in 254 of the row's largest mean, over a root that may be smaller.
    np.testing.assert_allclose(narrow[:50], wide[:50], rtol=0.1)


def test_whole_numbers_saturate_and_nan_is_zero():
    optimizer = optc.compile(
        """
        rule precondition kept() { state s: i8 = zeros(g) s <- g return s }
        optimizer x() { precondition kept tune step 1.0 }
        """
    )()
    tx = optimizer.transform()
    g = jnp.asarray([1.4, -1.6, 2.5, 300.0, -jnp.inf, jnp.nan])
    update, state = tx.update(g, tx.init(g), g)
    assert np.asarray(state.slots["precondition"]["s"]).tolist() == [1, -2, 2, 127, -127, 0]
    np.testing.assert_array_equal(update, -g)


def test_random_rounding_lets_the_second_moment_of_bfloat16_move():
    """A change of (1 - b2) nu is below half of bfloat16's last place: rounding to nearest stops."""
    tx = staged("precondition adam_bf16()", "tune step 1.0")().transform()
    steps, size = 700, 256
    g = jnp.ones(size)

    @jax.jit
    def run(g):
        def step(state, _):
            return tx.update(g, state, g)[1], None

        return lax.scan(step, tx.init(g), length=steps)[0]

    state = run(g)
    nu = np.asarray(state.slots["precondition"]["nu"], float)
    assert state.slots["precondition"]["nu"].dtype == jnp.bfloat16
    expected = 1 - B2**steps
    # One rounding has a variance of at most (ulp / 2)^2, with an ulp of at most 2^-8 of 0.5; the
    # roundings of an average of 256 elements are independent, and fade with b2^2.
    deviation = (2.0**-9 / 2) * np.sqrt(1 / (1 - B2**2)) / np.sqrt(size)
    assert abs(nu.mean() - expected) < 5 * deviation
