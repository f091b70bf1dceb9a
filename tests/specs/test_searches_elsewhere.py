"""Line searches beside those of optax and optimistix, on the same problems, in float64."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest
from functions import Function, descend
from shipped import staged, trajectory

import optc

SCALES = np.array([3.0, 1.0, 0.2])
START = np.array([2.0, -1.0, 0.5])
STEPS = 8


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def loss(x, scales):
    """Convex and smooth, with its lowest point away from 0."""
    return jnp.sum(jnp.log(jnp.cosh(scales * x))) + 0.5 * jnp.sum((x - 1) ** 2)


IN_NUMPY = Function(
    lambda x: np.sum(np.log(np.cosh(SCALES * x))) + 0.5 * np.sum((x - 1) ** 2),
    lambda x: SCALES * np.tanh(SCALES * x) + x - 1,
)


class SteepestArmijo(optimistix.AbstractGradientDescent):
    """Steepest descent of optimistix with the search of its BFGS."""

    rtol: float = 0.0
    atol: float = 0.0
    norm: object = optimistix.max_norm
    descent: optimistix.AbstractDescent = optimistix.SteepestDescent()
    search: optimistix.AbstractSearch = optimistix.BacktrackingArmijo()


def test_armijo_takes_the_steps_of_optimistix():
    """It halves from 1, with the constant 0.1, and counts evaluations: the start and each trial."""
    rule = "armijo(grow = inf, shrink = 0.5, c = 0.1)"
    descent = descend(rule, IN_NUMPY, START, STEPS)
    assert len(set(descent.sizes)) > 1, "the search has something to do"
    found = optimistix.minimise(
        loss,
        SteepestArmijo(),
        jnp.asarray(START),
        args=jnp.asarray(SCALES),
        max_steps=1 + sum(descent.trials),
        throw=False,
    )
    np.testing.assert_allclose(found.value, descent.points[-1], rtol=1e-10)


def test_wolfe_and_the_zoom_of_optax_keep_the_same_conditions():
    objective = optc.Objective(loss=lambda params, batch: loss(params["x"], SCALES))
    for rule in ("wolfe", "wolfe_optax"):
        written = staged(f"tune step {rule}(c2 = 0.1)", "observe norm(g) as length")
        found, _ = trajectory(written(), {"x": jnp.asarray(START)}, None, objective, STEPS)
        for before, after in pairwise(np.vstack([START, found["x"]])):
            g, step = IN_NUMPY.slope(before), before - after
            # Both losses are a sum of some terms of the size of 1.
            fell = IN_NUMPY.value(before) - IN_NUMPY.value(after) + 1e-14
            assert fell >= 1e-4 * (g @ step)
            assert abs(step @ IN_NUMPY.slope(after)) <= 0.1 * (g @ step) * (1 + 1e-9)
