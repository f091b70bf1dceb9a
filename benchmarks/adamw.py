"""The compiled AdamW against hand-written `optax.adamw`: an update of given gradients, applied.

Both are one jitted function that donates weights and state. Held against: at most 1.00 of optax's
time for a step, on each tree; at most 0.70 of its time to trace, lower and compile, on the trees of
many tensors. What XLA counts is a test (tests/specs/test_costs.py) and printed here beside.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optc

from .interleave import Seconds, Variant, held, interleave, repeated, report

Tree = Any

ROUNDS = 7
COMPILATIONS = 5


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


TREES: dict[str, Callable[[], Tree]] = {"a": few, "b": transformer, "c": small}
GOALS = {"a": None, "b": 0.70, "c": 0.70}
"""For the ratio of trace + lower + compile."""


def main() -> None:
    """Print all tables."""
    optimizers = {
        "optax": optax.adamw(1e-3, weight_decay=0.01),
        "optc": optc.load("adamw")().transform(),
    }
    for letter, shapes_of in TREES.items():
        shapes = shapes_of()
        leaves = jax.tree.leaves(shapes)
        weights = sum(leaf.size for leaf in leaves)
        print(f"\n({letter}) {len(leaves)} tensors, {weights / 1e6:.1f} M weights")
        for name, optimizer in optimizers.items():
            print(f"  {name:6} {_counts(optimizer, shapes, weights)}")

        gradients = _random(shapes)
        print("  one step")
        steps = {name: _step(tx, shapes, gradients) for name, tx in optimizers.items()}
        timings = interleave(steps, ROUNDS)
        report(timings, "optax")
        held("step", timings["optc"].median / timings["optax"].median, 1.00)
        del steps, gradients

        print("  trace, lower and compile")
        compiles = {name: _compilation(tx, shapes) for name, tx in optimizers.items()}
        timings = interleave(compiles, COMPILATIONS)
        report(timings, "optax", ("trace", "lower", "compile"))
        goal = GOALS[letter]
        if goal is not None:
            held("compilation", timings["optc"].median / timings["optax"].median, goal)


def _shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def _random(shapes: Tree) -> Tree:
    key = jax.random.key(0)
    return jax.tree.map(lambda leaf: 1e-2 * jax.random.normal(key, leaf.shape), shapes)


def _jitted(optimizer: optax.GradientTransformation) -> Any:
    def step(params: Tree, state: Tree, grads: Tree) -> tuple[Tree, Tree]:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def _step(optimizer: optax.GradientTransformation, shapes: Tree, gradients: Tree) -> Variant:
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    kept = [params, optimizer.init(params)]
    del params
    jitted = _jitted(optimizer)

    def step() -> Tree:
        kept[:] = jitted(*kept, gradients)
        return kept

    return repeated(step, jax.block_until_ready)


def _compilation(optimizer: optax.GradientTransformation, shapes: Tree) -> Variant:
    state = jax.eval_shape(optimizer.init, shapes)

    def compilation() -> Seconds:
        jax.clear_caches()
        times = [time.perf_counter()]
        traced = _jitted(optimizer).trace(shapes, state, shapes)
        times.append(time.perf_counter())
        lowered = traced.lower()
        times.append(time.perf_counter())
        lowered.compile()
        times.append(time.perf_counter())
        return tuple(b - a for a, b in pairwise(times))

    return compilation


def _counts(optimizer: optax.GradientTransformation, shapes: Tree, weights: int) -> str:
    state = jax.eval_shape(optimizer.init, shapes)
    compiled = _jitted(optimizer).lower(shapes, state, shapes).compile()
    memory = compiled.memory_analysis()
    kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((shapes, state)))
    return (
        f"{compiled.cost_analysis()['bytes accessed'] / weights:.2f} bytes accessed per weight, "
        f"{memory.temp_size_in_bytes} bytes of temporaries, "
        f"{memory.alias_size_in_bytes / kept:.0%} of weights and state in place"
    )


if __name__ == "__main__":
    main()
