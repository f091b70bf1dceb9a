"""Updates in a process of their own, for `elsewhere.worker`: options of XLA are a process's.

`python -m benchmarks.worker optc|optax NAME TREE`. NAME is `adamw`, or `clipped`, which is AdamW
behind a clip by the global norm; of optc any optimizer of the library. For the line `counts` it
answers with what XLA counts, as JSON; for a number it does as many steps and answers with the
seconds of each.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import optax

import optc

from .updates import TREES, counted, gradients, jitted

CLIPPED = """
optimizer clipped(lr = 1e-3 in [0, inf), decay = 0.01 in [0, inf)) {
  clip         global_norm(1.0)
  precondition adam()
  decay        weights(decay)
  tune step    lr
}
"""

WARM_UP = 3


def transformation(who: str, name: str) -> optax.GradientTransformation:
    """What does the update."""
    adamw = optax.adamw(1e-3, weight_decay=0.01)
    match who, name:
        case "optc", "clipped":
            return optc.compile(CLIPPED)().transform()
        case "optax", "clipped":
            return optax.chain(optax.clip_by_global_norm(1.0), adamw)
        case "optax", "adamw":
            return adamw
        case "optc", _:
            return optc.load(name)().transform()
    raise SystemExit(f"there is no {who}:{name}")


def main(who: str, name: str, tree: str) -> None:
    """Answer until there is nothing more to read."""
    shapes = TREES[tree]()
    optimizer = transformation(who, name)
    step = _stepping(optimizer, shapes)
    gc.disable()
    for line in sys.stdin:
        if line.strip() == "counts":
            print(json.dumps(asdict(counted(optimizer, shapes))), flush=True)
        else:
            gc.collect()
            print(*(step() for _ in range(int(line))), flush=True)


def _stepping(optimizer: optax.GradientTransformation, shapes: Any) -> Callable[[], float]:
    """One step from where the last one led: its seconds."""
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    kept = [params, jax.tree.map(jnp.copy, optimizer.init(params))]
    del params
    update, grads, value = jitted(optimizer), gradients(shapes), jnp.ones(())

    def step() -> float:
        start = time.perf_counter()
        kept[:] = jax.block_until_ready(update(*kept, grads, value))
        return time.perf_counter() - start

    for _ in range(WARM_UP):
        step()
    return step


if __name__ == "__main__":
    main(*sys.argv[1:])
