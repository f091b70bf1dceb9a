"""An ill-conditioned quadratic in a matrix: half the squared size of left (W - target) right."""

import jax
import jax.numpy as jnp
from jax import Array

from ....runtime import Objective
from .task import Batch, Params, Task


def quadratic(size: int = 16, condition: float = 1e4) -> Task:
    """The task for a `size` x `size` matrix whose Hessian has this condition number.

    Its eigenvalues lie between 1 and 1 / condition, and its eigenvectors are not the axes.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    # The Hessian is the Kronecker product of both sides squared: each has the fourth root.
    left, right = (_symmetric(key, size, condition**0.25) for key in keys[:2])
    target = jax.random.normal(keys[2], (size, size))

    def outputs(params: Params, batch: Batch) -> Array:
        weight: Array = params["weight"]
        return left @ (weight - target) @ right

    def loss(outputs: Array, batch: Batch) -> Array:
        return 0.5 * jnp.sum(outputs**2)

    @jax.jit
    def evaluate(params: Params, model_state: Params | None) -> dict[str, Array]:
        return {
            "loss": loss(outputs(params, {}), {}),
            "distance": jnp.linalg.norm(params["weight"] - target),
        }

    return Task(
        name="quadratic",
        objective=Objective(outputs=outputs, loss=loss),
        init=lambda key: {"weight": jax.random.normal(key, (size, size))},
        draw=lambda seed, step, size: {},
        evaluate=evaluate,
        default_steps=500,
    )


def _symmetric(key: Array, size: int, condition: float) -> Array:
    """A symmetric matrix with eigenvalues from 1 to 1 / condition, logarithms evenly spaced."""
    basis, _ = jnp.linalg.qr(jax.random.normal(key, (size, size)))
    eigenvalues = jnp.geomspace(1.0, 1.0 / condition, size)
    return (basis * eigenvalues) @ basis.T
