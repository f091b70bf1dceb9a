"""Rosenbrock's curved valley, as a sum of squared residuals.

Source: Rosenbrock 1960, "An automatic method for finding the greatest or least value of a
function"; the chained form in n variables. The minimum is 0, at all ones.
"""

import jax
import jax.numpy as jnp
from jax import Array

from ....runtime import Objective
from .task import Batch, Params, Task


def rosenbrock(size: int = 2) -> Task:
    """The task in `size` variables, from the classic start (-1.2, 1, -1.2, 1, ...).

    A seed moves the start by a hundredth, so that seeds differ.
    """
    start = jnp.where(jnp.arange(size) % 2 == 0, -1.2, 1.0)

    @jax.jit
    def evaluate(params: Params, model_state: Params | None) -> dict[str, Array]:
        return {
            "loss": _loss(_residuals(params, {}), {}),
            "distance": jnp.linalg.norm(params["x"] - 1.0),
        }

    return Task(
        name="rosenbrock",
        objective=Objective(outputs=_residuals, loss=_loss),
        init=lambda key: {"x": start + 0.01 * jax.random.normal(key, (size,))},
        draw=lambda seed, step, size: {},
        evaluate=evaluate,
        default_steps=2000,
    )


def _residuals(params: Params, batch: Batch) -> Array:
    x = params["x"]
    return jnp.concatenate([10.0 * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1]])


def _loss(residuals: Array, batch: Batch) -> Array:
    return jnp.sum(residuals**2)
