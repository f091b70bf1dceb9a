"""CDAT against a plain gradient step, and the ways to get its curvature u'Hu against each other.

On the model of the `text` task and on an MLP. Held against: at most 2.0 plain steps on the first.
The other ways are the same step with another derivative: what `compiler/passes/curvature.py` chose
from.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import optc
from optc.cli.train.tasks.text import text

from .interleave import Variant, held, interleave, repeated, report

ROUNDS = 11
LAYERS, WIDTH, EXAMPLES = 4, 512, 256

Loss = Callable[[Any], jax.Array]
Curved = Callable[[Loss, Any], tuple[Any, jax.Array]]
"""From a loss and weights to the gradient g there, and g'Hg."""


def main() -> None:
    """Print both tables."""
    task = text()
    params, batch = task.init(jax.random.key(0)), task.batch(0, 0)
    found = _compare("the model of the `text` task", params, batch, task.objective)
    held("CDAT on the text model, in plain steps", found, 2.0)
    params, batch = _mlp()
    objective = optc.Objective(outputs=_outputs, loss=_mean_square)
    _compare(f"an MLP of {LAYERS} layers of {WIDTH}", params, batch, objective)


def _compare(name: str, params: Any, batch: Any, objective: optc.Objective) -> float:
    """Print one table; gives compiled CDAT in plain steps."""

    def fresh() -> Any:
        return jax.tree.map(jnp.copy, params)

    def loss(params: Any) -> jax.Array:
        return objective.value(params, batch)[0]

    def compiled(name: str, **values: float) -> Variant:
        optimizer = optc.load(name)(**values)
        weights = fresh()
        kept = [weights, optimizer.init(weights)]

        def step() -> Any:
            kept[:] = optimizer.step(*kept, batch, objective)[:2]
            return kept

        return repeated(step, jax.block_until_ready)

    ways: dict[str, Curved] = {
        "jvp of jvp": nested,
        "jvp of grad": apart,
        "linearize(grad)": linearised,
        "grad of jvp": reverse_over_forward,
    }
    print(f"\nCDAT on {name}")
    timings = interleave(
        # Small rates: the weights stay where they are finite, however many steps are timed.
        {"plain": compiled("sgd", lr=1e-6), "optc cdat_gd": compiled("cdat_gd", scale=1e-6)}
        | {f"by hand, {way}": _by_hand(fresh(), loss, curved) for way, curved in ways.items()},
        ROUNDS,
    )
    report(timings, "plain")
    return timings["optc cdat_gd"].median / timings["plain"].median


def nested(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """Forward over forward: no vector is made."""
    g = jax.grad(loss)(params)

    def slope(x: Any) -> jax.Array:
        return jax.jvp(loss, (x,), (g,))[1]

    return g, jax.jvp(slope, (params,), (g,))[1]


def apart(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """The gradient, and then its derivative along it: the gradient is worked out twice."""
    g = jax.grad(loss)(params)
    return g, _dot(g, jax.jvp(jax.grad(loss), (params,), (g,))[1])


def linearised(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """The gradient and its linear map, which share their work."""
    g, push = jax.linearize(jax.grad(loss), params)
    return g, _dot(g, push(g))


def reverse_over_forward(loss: Loss, params: Any) -> tuple[Any, jax.Array]:
    """The gradient of the derivative along the gradient."""
    g = jax.grad(loss)(params)
    return g, _dot(g, jax.grad(lambda x: jax.jvp(loss, (x,), (g,))[1])(params))


def _dot(x: Any, y: Any) -> jax.Array:
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), x, y)))


def _by_hand(params: Any, loss: Loss, curved: Curved) -> Variant:
    @partial(jax.jit, donate_argnums=0)
    def call(params: Any) -> Any:
        g, curvature = curved(loss, params)
        rate = 1e-6 * _dot(g, g) / (jnp.abs(curvature) + 1e-12)
        return jax.tree.map(lambda x, slope: x - rate * slope, params, g)

    kept = [params]

    def step() -> Any:
        kept[:] = [call(*kept)]
        return kept

    return repeated(step, jax.block_until_ready)


def _mlp() -> tuple[Any, Any]:
    keys = jax.random.split(jax.random.key(0), LAYERS + 2)
    kernels = [jax.random.normal(key, (WIDTH, WIDTH)) / WIDTH**0.5 for key in keys[:LAYERS]]
    x, y = (jax.random.normal(key, (EXAMPLES, WIDTH)) for key in keys[LAYERS:])
    return kernels, {"x": x, "y": y}


def _outputs(params: Any, batch: Any) -> jax.Array:
    x = batch["x"]
    for kernel in params[:-1]:
        x = jnp.tanh(x @ kernel)
    return x @ params[-1]


def _mean_square(outputs: jax.Array, batch: Any) -> jax.Array:
    return jnp.mean((outputs - batch["y"]) ** 2)


if __name__ == "__main__":
    main()
