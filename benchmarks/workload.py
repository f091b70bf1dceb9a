"""A model with a batch, and the steps that are timed on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import optc
from optc.cli.train.tasks.text import text

from .interleave import Variant, repeated

LAYERS, WIDTH, EXAMPLES = 4, 512, 256
"""Of the MLP."""


@dataclass(frozen=True)
class Workload:
    """What is trained: the weights to start from, one batch, and the objective."""

    name: str
    params: Any
    batch: Any
    objective: optc.Objective = field(repr=False)

    def loss(self, params: Any) -> jax.Array:
        """The loss on the batch."""
        return self.objective.value(params, self.batch)[0]

    def fresh(self) -> Any:
        """Weights that may be donated."""
        return jax.tree.map(jnp.copy, self.params)

    def compiled(
        self, program: optc.Program | str, count: int | None = None, **values: Any
    ) -> Variant:
        """The step of a compiled optimizer, over and over; each time the same one with a `count`.

        An optimizer of the library goes by its name. `count` is how many steps came before.
        """
        optimizer = (optc.load(program) if isinstance(program, str) else program)(**values)
        params = self.fresh()
        kept = [params, optimizer.init(params)]

        def step() -> Any:
            params, state = kept
            if count is not None:
                state = state._replace(count=jnp.full((), count, jnp.int32))
            kept[:] = optimizer.step(params, state, self.batch, self.objective)[:2]
            return kept

        return repeated(step, jax.block_until_ready)

    def by_hand(self, update: Callable[[Any], Any]) -> Variant:
        """A function from weights to weights, jitted, in place."""
        call = partial(jax.jit, donate_argnums=0)(update)
        kept = [self.fresh()]

        def step() -> Any:
            kept[:] = [call(*kept)]
            return kept

        return repeated(step, jax.block_until_ready)


def text_model() -> Workload:
    """The model of the `text` task."""
    task = text()
    params, batch = task.init(jax.random.key(0)), task.batch(0, 0)
    return Workload("the model of the `text` task", params, batch, task.objective)


def mlp() -> Workload:
    """An MLP under squares."""
    keys = jax.random.split(jax.random.key(0), LAYERS + 2)
    kernels = [jax.random.normal(key, (WIDTH, WIDTH)) / WIDTH**0.5 for key in keys[:LAYERS]]
    x, y = (jax.random.normal(key, (EXAMPLES, WIDTH)) for key in keys[LAYERS:])
    objective = optc.Objective(outputs=_outputs, loss=_mean_square)
    return Workload(f"an MLP of {LAYERS} layers of {WIDTH}", kernels, {"x": x, "y": y}, objective)


def moved(params: Any, rate: Any, direction: Any) -> Any:
    """The weights minus a rate times a direction."""
    return jax.tree.map(lambda x, u: x - rate * u, params, direction)


def dot(x: Any, y: Any) -> jax.Array:
    """The inner product of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), x, y)))


def _outputs(params: Any, batch: Any) -> jax.Array:
    x = batch["x"]
    for kernel in params[:-1]:
        x = jnp.tanh(x @ kernel)
    return x @ params[-1]


def _mean_square(outputs: jax.Array, batch: Any) -> jax.Array:
    return jnp.mean((outputs - batch["y"]) ** 2)
