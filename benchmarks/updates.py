"""What benchmarks of whole updates share: trees of weights, and a jitted update of given gradients.

An update is what an optax transformation makes of gradients, applied, in one jitted function that
donates weights and state; or the step of one of our optimizers, of a loss whose gradient is given.
Nothing is observed then: XLA drops what is not returned, so `observe norm(g)` costs tracing and no
step.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optc

from .interleave import Seconds, Variant, repeated

Tree = Any
Update = optax.GradientTransformation | optc.Optimizer


def few() -> Tree:
    """(a) 100 million weights in 24 tensors."""
    return [_shape(2048, 2048)] * 24


def transformer(layers: int = 12, width: int = 448) -> Tree:
    """(b) 30 million weights in 148 tensors, as a transformer has them."""

    def dense(inputs: int, outputs: int) -> Tree:
        return {"kernel": _shape(inputs, outputs), "bias": _shape(outputs)}

    norm = {"scale": _shape(width), "bias": _shape(width)}
    layer = {
        "attention_norm": norm,
        "attention_in": dense(width, 3 * width),
        "attention_out": dense(width, width),
        "mlp_norm": norm,
        "mlp_in": dense(width, 4 * width),
        "mlp_out": dense(4 * width, width),
    }
    return {
        "tokens": _shape(2048, width),
        "positions": _shape(512, width),
        "layers": [layer] * layers,
        "last_norm": norm,
    }


def small() -> Tree:
    """(c) 1.4 million weights in 1,000 tensors."""
    return [_shape(1400)] * 1000


def pair() -> Tree:
    """(d) 1 million weights in two matrices, for what is counted."""
    return [_shape(512, 1024)] * 2


TREES: dict[str, Callable[[], Tree]] = {"a": few, "b": transformer, "c": small, "d": pair}


@dataclass(frozen=True)
class Counts:
    """What XLA counts of one update, in bytes."""

    accessed: float
    temporary: int
    aliased: int
    state: int


def gradients(shapes: Tree) -> Tree:
    """Small random gradients."""
    key = jax.random.key(0)
    return jax.tree.map(lambda leaf: 1e-2 * jax.random.normal(key, leaf.shape), shapes)


@jax.custom_vjp
def given(params: Tree, batch: tuple[Tree, jax.Array]) -> jax.Array:
    """A loss that comes with the batch, behind its gradient."""
    return batch[1]


given.defvjp(
    lambda params, batch: (batch[1], batch),
    lambda batch, _: (batch[0], jax.tree.map(jnp.zeros_like, batch)),
)


def jitted(optimizer: Update) -> Callable[..., Any]:
    """The update, applied; the loss is given as `value` to transformations that ask for it."""
    if isinstance(optimizer, optc.Optimizer):
        return _own_step(optimizer)
    transformation = optax.with_extra_args_support(optimizer)

    def step(params: Tree, state: Tree, grads: Tree, value: jax.Array) -> tuple[Tree, Tree]:
        updates, state = transformation.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def _own_step(optimizer: optc.Optimizer) -> Callable[..., Any]:
    objective = optc.Objective(loss=given)

    def step(params: Tree, state: Tree, grads: Tree, value: jax.Array) -> tuple[Tree, Tree]:
        params, state, _ = optimizer.update(params, state, (grads, value), objective)
        return params, state

    return jax.jit(step, donate_argnums=(0, 1))


def stepping(
    optimizer: Update, shapes: Tree, grads: Tree, seconds: float = 0.15, calls: int = 1
) -> Variant:
    """Steps from ones, each from where the last one led; a sample lasts about `seconds`.

    What is timed are so many `calls` together.
    """
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    # Some states of optax start as the weights themselves, and one buffer is not donated twice.
    kept = [params, jax.tree.map(jnp.copy, optimizer.init(params))]
    del params
    step, value = jitted(optimizer), jnp.ones(())

    def advance() -> Tree:
        for _ in range(calls):
            kept[:] = step(*kept, grads, value)
        return kept

    return repeated(advance, jax.block_until_ready, seconds)


def compiling(optimizer: Update, shapes: Tree) -> Variant:
    """Tracing, lowering and compiling the update from cold caches."""
    state = jax.eval_shape(optimizer.init, shapes)

    def compilation() -> Seconds:
        jax.clear_caches()
        times = [time.perf_counter()]
        traced = jitted(optimizer).trace(shapes, state, shapes, _shape())
        times.append(time.perf_counter())
        lowered = traced.lower()
        times.append(time.perf_counter())
        lowered.compile()
        times.append(time.perf_counter())
        return tuple(b - a for a, b in pairwise(times))

    return compilation


def counted(optimizer: Update, shapes: Tree) -> Counts:
    """What XLA counts of one update."""
    state = jax.eval_shape(optimizer.init, shapes)
    compiled = jitted(optimizer).lower(shapes, state, shapes, _shape()).compile()
    memory = compiled.memory_analysis()
    return Counts(
        accessed=compiled.cost_analysis()["bytes accessed"],
        temporary=memory.temp_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        state=nbytes(state),
    )


def nbytes(tree: Tree) -> int:
    """The bytes of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)
