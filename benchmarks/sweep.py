"""Sixteen learning rates of an MLP on `digits`: as one program, against a program for each.

A rate that is baked into optax makes another program of each run, which compiles anew. Ours is an
input: 16 runs are one compiled program run 16 times, or one program of all of them with `vmap`.
Held against: each takes at most a fifth of the time of the 16 runs of optax, all from cold caches
and with compilation. All train with AdamW in a `scan` over the same batches.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import optc
from optc.cli.train.tasks.digits import digits

from .interleave import Seconds, Variant, held, interleave, report

Tree = Any

RATES = tuple(float(rate) for rate in np.geomspace(1e-4, 1e-2, 16))
STEPS = 200
ROUNDS = 3
GOAL = 0.20


def main() -> None:
    """Print the table, and how far the final losses are from those of optax."""
    task = digits(batch_size=64, hidden=(64, 64))
    params = task.init(jax.random.key(0))
    batches = [task.batch(0, step) for step in range(STEPS)]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *batches)
    optimizer = optc.load("adamw")()

    def loss(params: Tree, batch: Tree) -> jax.Array:
        return task.objective.value(params, batch)[0]

    def with_optax(rate: float) -> jax.Array:
        tx = optax.adamw(rate, weight_decay=0.01)

        def step(carry: Tree, batch: Tree) -> tuple[Tree, jax.Array]:
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, batch)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), value

        return lax.scan(step, (params, tx.init(params)), stacked)[1]

    def with_optc(rate: jax.Array) -> jax.Array:
        def step(carry: Tree, batch: Tree) -> tuple[Tree, jax.Array]:
            params, state, found = optimizer.update(*carry, batch, task.objective)
            return (params, state), found.loss

        start = optimizer.set(optimizer.init(params), lr=rate)
        return lax.scan(step, (params, start), stacked)[1]

    def compiling_anew() -> list[jax.Array]:
        return [jax.jit(lambda rate=rate: with_optax(rate))() for rate in RATES]

    def one_program_16_times() -> list[jax.Array]:
        run = jax.jit(with_optc)
        return [run(jnp.float32(rate)) for rate in RATES]

    def one_vmapped_program() -> jax.Array:
        return jax.jit(jax.vmap(with_optc))(jnp.array(RATES, jnp.float32))

    ways = {
        "optax, 16 programs": compiling_anew,
        "one program, 16 times": one_program_16_times,
        "one vmapped program": one_vmapped_program,
    }
    print(f"{len(RATES)} rates, {STEPS} steps each, seconds with compilation")
    expected = np.stack(compiling_anew())[:, -1]
    for name, way in ways.items():
        off = np.abs(np.stack(way())[:, -1] - expected).max()
        print(f"  {name:22} final losses at most {off:.1e} from those of optax")
    timings = interleave({name: _cold(way) for name, way in ways.items()}, ROUNDS)
    report(timings, "optax, 16 programs")
    base = timings["optax, 16 programs"].median
    for name in list(ways)[1:]:
        held(name, timings[name].median / base, GOAL)
    print("\n| what | held against | goal | measured | benchmark |\n|---|---|---|---|---|")
    for name in list(ways)[1:]:
        ratio = timings[name].median / base
        lowest = timings[name].minimum / timings["optax, 16 programs"].minimum
        print(
            f"| 16 rates of an MLP on `digits`, {name} | 16 runs of optax that compile "
            f"| {GOAL:.2f} | {ratio:.2f} ({lowest:.2f}) | `sweep` |"
        )


def _cold(way: Callable[[], Tree]) -> Variant:
    """A sample that compiles everything it runs."""

    def sample() -> Seconds:
        jax.clear_caches()
        start = time.perf_counter()
        jax.block_until_ready(way())
        return (time.perf_counter() - start,)

    return sample


if __name__ == "__main__":
    main()
