"""Gauss-Newton and BFGS of optimistix, L-BFGS and Sophia of optax, iterate by iterate.

Theirs solve one equation or factor one matrix where ours iterates or loops over pairs, so what is
left is rounding, times the condition of the problem.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import optimistix as optx
import pytest
from shipped import program, staged

import optc

STEPS = 8


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def theirs(solver, function, start):
    """The iterates that a solver accepts, from the start on."""

    def fn(y, args):
        return function(y), None

    shape = jax.eval_shape(lambda: function(start))
    state = solver.init(fn, start, None, {}, shape, None, frozenset())
    step = eqx.filter_jit(lambda y, state: solver.step(fn, y, None, {}, state, frozenset())[:2])
    found = [start]
    while len(found) <= STEPS:
        y, state = step(found[-1], state)
        found += [y] if np.any(y != found[-1]) else []
    return np.stack(found)


def ours(optimizer, objective, start, steps=STEPS):
    """The iterates of an optimizer, from the start on."""

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state, _ = optimizer.update(*carry, None, objective)
            return (params, state), params["x"]

        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[1]

    return np.concatenate([[start], run({"x": start})])


def test_gauss_newton_is_that_of_optimistix():
    """A sum of two exponentials through noisy points, which no parameters fit."""
    times = jnp.linspace(0.0, 2.0, 12)
    points = jnp.asarray(np.random.default_rng(0).normal(size=12)) * 0.05 + jnp.exp(-times)

    def residuals(x):
        return x[0] * jnp.exp(-x[1] * times) + x[2] * jnp.exp(-3 * times) - points

    objective = optc.Objective(
        outputs=lambda params, batch: residuals(params["x"]),
        loss=lambda outputs, batch: jnp.sum(outputs**2) / 2,
    )
    start = jnp.array([0.7, 0.5, 0.2])
    rule = "precondition gauss_newton(damping = 0, iterations = 6, tolerance = 1e-14)"
    found = ours(staged(rule, "tune step 1.0")(), objective, start)
    expected = theirs(optx.GaussNewton(rtol=0.0, atol=0.0), residuals, start)
    # J'J is what ours sees, whose condition is the square of that of J, some 1e3.
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def logistic():
    """A regularised logistic regression of four weights, and where it starts."""
    rng = np.random.default_rng(1)
    rows, sides = jnp.asarray(rng.normal(size=(20, 4))), jnp.asarray(rng.choice([-1.0, 1.0], 20))

    def loss(x):
        return jnp.sum(jnp.logaddexp(0.0, -sides * (rows @ x))) + 0.1 * jnp.sum(x**2)

    objective = optc.Objective(loss=lambda params, batch: loss(params["x"]))
    return loss, objective, jnp.asarray(rng.normal(size=4))


def test_lbfgs_with_room_for_all_pairs_is_bfgs_of_optimistix():
    """From the identity, and with its backtracking from a step of 1."""
    loss, objective, start = logistic()
    optimizer = staged(
        f"precondition lbfgs(size = {STEPS}, scaled = false)",
        "tune step armijo(grow = 1e9, shrink = 0.5, c = 0.1, max_step = 1)",
    )()
    found = ours(optimizer, objective, start)
    expected = theirs(optx.BFGS(rtol=0.0, atol=0.0), loss, start)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_lbfgs_with_the_search_of_optax_is_that_of_optax():
    loss, objective, start = logistic()
    variant = """
    optimizer theirs from lbfgs {
      replace tune with wolfe_optax(guess = "one")
      drop step_size
    }
    """
    found = ours(optc.compile(variant)(), objective, start)
    tx = optax.lbfgs()

    @jax.jit
    def run(x):
        def step(carry, _):
            x, state = carry
            value, grad = jax.value_and_grad(loss)(x)
            update, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=loss)
            return (x + update, state), x + update

        return jax.lax.scan(step, (x, tx.init(x)), length=STEPS)[1]

    np.testing.assert_allclose(found[1:], run(start), rtol=1e-9)


def test_lbfgs_reaches_the_minimum_of_rosenbrocks_function():
    """To where BFGS of optimistix goes; both from the usual start."""

    def loss(x):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    objective = optc.Objective(loss=lambda params, batch: loss(params["x"]))
    found = ours(program("lbfgs")(), objective, jnp.array([-1.2, 1.0]), steps=50)
    np.testing.assert_allclose(found[-1], [1.0, 1.0], rtol=1e-6)


def test_sophia_is_that_of_optax_where_signs_do_not_matter():
    """A loss that is a sum over weights has a diagonal Hessian, which any signs find."""

    def loss(x):
        return jnp.sum(jnp.cosh(x) + 0.1 * x**3)

    objective = optc.Objective(loss=lambda params, batch: loss(params["x"]))
    start = jnp.array([1.5, -2.0, 0.3, -3.0])
    settings = {"lr": 0.05, "gamma": 0.5, "update_interval": 3, "clip_threshold": 0.8}
    found = ours(program("sophia")(**settings), objective, start)
    del settings["lr"]
    tx = optax.contrib.sophia(0.05, **settings)

    @jax.jit
    def run(x):
        def step(carry, _):
            x, state = carry
            update, state = tx.update(jax.grad(loss)(x), state, x, obj_fn=loss)
            return (x + update, state), x + update

        return jax.lax.scan(step, (x, tx.init(x)), length=STEPS)[1]

    np.testing.assert_allclose(found[1:], run(start), rtol=1e-12)
