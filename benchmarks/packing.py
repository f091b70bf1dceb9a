"""Many small tensors: what is packed against `optax.adamw`, and from which size on it does not pay.

An update of given gradients of 1,000 tensors, with weights as a tree, is held against at most 0.50
of optax's time; to trace, lower and compile it against 0.65, to trace and lower it against 0.25.
A whole training step with packed weights is held against 0.65 of its time at 300 tensors, and 0.50
at 1,000, and to trace, lower and compile it, the model too, against 0.65. The last table has packs
of tensors of one size against tensor by tensor.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optc
from optc.runtime.lifting import SMALL, Lifting

from .interleave import Seconds, Timing, Variant, held, interleave, repeated, report
from .updates import Tree, compiling, gradients, small, stepping

WIDTH, EXAMPLES = 32, 32
"""Of the model, whose layers are residual."""

ROUNDS, COMPILATIONS = 7, 3
LAYERS = {150: 0.65, 500: 0.50}
"""What a whole step is held against, by the number of layers, of two tensors each."""

Start = Callable[[], tuple[Any, ...]]
"""A jitted step, the weights and the state that it takes and gives."""


def main() -> None:
    """Print all tables."""
    updates()
    for layers, goal in LAYERS.items():
        training(layers, goal)
    break_even()


def updates() -> None:
    """An update with weights as a tree."""
    shapes = small()
    print(f"\n{len(shapes)} tensors of {shapes[0].size} weights, an update of given gradients")
    optimizers = {"optax": optax.adamw(1e-3, weight_decay=0.01)}
    optimizers |= {way: optc.load("adamw", lifting=way)().transform() for way in _WAYS}
    grads = gradients(shapes)
    steps = {name: stepping(tx, shapes, grads) for name, tx in optimizers.items()}
    _steps(steps, 0.50)
    timings = _compilations({name: compiling(tx, shapes) for name, tx in optimizers.items()})
    before = [sum(timings[name].parts[:2]) for name in ("packed", "optax")]
    held("trace and lower", before[0] / before[1], 0.25)


def training(layers: int, goal: float) -> None:
    """A whole step of a deep narrow model; `packed` keeps its weights packed, too."""
    print(f"\na model of {layers} layers, {2 * layers} tensors, a whole training step")
    starts: dict[str, Start] = {"optax": partial(_by_optax, layers)}
    starts |= {way: partial(_by_optc, layers, way) for way in _WAYS}
    _steps({name: _running(start) for name, start in starts.items()}, goal)
    _compilations({name: partial(_compiling, start) for name, start in starts.items()})


def break_even(weights: int = 1 << 20) -> None:
    """Packs of tensors of one size against the same tensor by tensor; weights are a tree."""
    print(f"\nthe update of {weights} weights in tensors of one size, and of them packed")
    apart, together = (optc.load("adamw", lifting=way) for way in _WAYS)
    together.steps.lifting = Lifting("packed", below=weights)
    variants = {"tensors": apart().transform(), "packed": together().transform()}
    for size in (256, 1024, 4096, SMALL, 2 * SMALL, 4 * SMALL):
        shapes = [jax.ShapeDtypeStruct((size,), jnp.float32)] * (weights // size)
        grads = gradients(shapes)
        steps = {name: stepping(tx, shapes, grads) for name, tx in variants.items()}
        timings = interleave(steps, 5)
        ratio = timings["packed"].median / timings["tensors"].median
        print(f"  {len(shapes):5} of {size:6}: packed takes {ratio:.2f} of the time")


_WAYS = ("tensors", "packed")


def _steps(steps: Mapping[str, Variant], goal: float) -> None:
    print("  one step")
    timings = interleave(steps, ROUNDS)
    report(timings, "optax")
    held("step", timings["packed"].median / timings["optax"].median, goal)


def _compilations(compiles: Mapping[str, Variant]) -> dict[str, Timing]:
    print("  trace, lower and compile")
    timings = interleave(compiles, COMPILATIONS)
    report(timings, "optax", ("trace", "lower", "compile"))
    held("all of it", timings["packed"].median / timings["optax"].median, 0.65)
    return timings


def _model(layers: int) -> Tree:
    keys = jax.random.split(jax.random.key(0), layers)
    return [
        {"kernel": jax.random.normal(key, (WIDTH, WIDTH)) / WIDTH, "bias": jnp.zeros(WIDTH)}
        for key in keys
    ]


def _loss(params: Tree, batch: jax.Array) -> jax.Array:
    x = batch
    for layer in params:
        x = x + jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return jnp.mean(x * x)


_OBJECTIVE = optc.Objective(loss=_loss)


def _by_optax(layers: int) -> tuple[Any, ...]:
    tx, params = optax.adamw(1e-3, weight_decay=0.01), _model(layers)

    def step(params: Tree, state: Tree, batch: jax.Array) -> tuple[Tree, Tree]:
        grads = jax.grad(_loss)(params, batch)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1)), params, tx.init(params)


def _by_optc(layers: int, way: Any) -> tuple[Any, ...]:
    optimizer, params = optc.load("adamw", lifting=way)(), _model(layers)
    if way == "packed":
        params = optimizer.pack(params)

    def step(params: Tree, state: Tree, batch: jax.Array) -> tuple[Tree, Tree]:
        params, state, _ = optimizer.update(params, state, batch, _OBJECTIVE)
        return params, state

    return jax.jit(step, donate_argnums=(0, 1)), params, optimizer.init(params)


def _batch() -> jax.Array:
    return jax.random.normal(jax.random.key(1), (EXAMPLES, WIDTH))


def _running(start: Start) -> Variant:
    step, *kept = start()
    batch = _batch()

    def advance() -> Any:
        kept[:] = step(*kept, batch)
        return kept

    return repeated(advance, jax.block_until_ready)


def _compiling(start: Start) -> Seconds:
    step, *given = start()
    jax.clear_caches()
    times = [time.perf_counter()]
    traced = step.trace(*given, _batch())
    times.append(time.perf_counter())
    lowered = traced.lower()
    times.append(time.perf_counter())
    lowered.compile()
    times.append(time.perf_counter())
    return tuple(b - a for a, b in pairwise(times))


if __name__ == "__main__":
    main()
