"""A start from what was kept, against a cold one: AdamW in a process of its own.

A start is what comes after imports: loading the spec, a fresh state, and the first step of given
gradients, less the time of a second one (*update*). Held against, for *update*: at most 0.30 of a
cold one, which traces, lowers and compiles. JAX's own cache of compiled programs spares the last of
these; `first` is a start that finds nothing and keeps what it makes.
"""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from .interleave import Seconds, Variant, held, interleave, report

ROUNDS = 5
PARTS = ("load", "init", "update")
TREES = {"b": "transformer", "c": "small"}
GOAL = 0.30


def main() -> None:
    """Print a table for each tree; with the name of a tree and a way, be one such start."""
    if len(sys.argv) > 1:
        print(json.dumps(start(sys.argv[1], sys.argv[2] == "kept")))
        return
    for letter, tree in TREES.items():
        print(f"\n({letter}) {tree}")
        with TemporaryDirectory() as kept, TemporaryDirectory() as own:
            variants = {
                "cold": _starting(tree, "plain", {}),
                "first": _in_an_empty_folder(tree),
                "JAX's cache": _starting(tree, "plain", {**_ALWAYS, _JAXS: own}),
                "warm": _starting(tree, "kept", {_OURS: kept}),
            }
            for start_once in variants.values():
                start_once()
            timings = interleave(variants, ROUNDS)
            size = sum(file.stat().st_size for file in Path(kept).iterdir())
        report(timings, "cold", PARTS)
        print(f"  {size / 1e6:.1f} MB are kept")
        updates = {name: timing.parts[PARTS.index("update")] for name, timing in timings.items()}
        held("update, warm", updates["warm"] / updates["cold"], GOAL)


_OURS, _JAXS = "OPTC_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR"
_ALWAYS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}
"""Let JAX keep all that it compiles."""


def _starting(tree: str, way: str, environment: dict[str, str]) -> Variant:
    """Starts in processes of their own."""
    command = [sys.executable, "-m", "benchmarks.warm", tree, way]

    def run() -> Seconds:
        # As a person's shell has it: compiled files of Python are kept.
        everything = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        ended = subprocess.run(
            command, env={**everything, **environment}, check=True, capture_output=True, text=True
        )
        return tuple(json.loads(ended.stdout))

    return run


def _in_an_empty_folder(tree: str) -> Variant:
    """Starts that find nothing."""

    def run() -> Seconds:
        with TemporaryDirectory() as folder:
            return _starting(tree, "kept", {_OURS: folder})()

    return run


def start(tree: str, kept: bool) -> Seconds:
    """Seconds for each part, in this process."""
    import jax  # a process that only counts others needs no JAX

    import optc

    from . import updates

    shapes = getattr(updates, tree)()
    params = jax.tree.map(lambda leaf: jax.numpy.ones(leaf.shape, leaf.dtype), shapes)
    grads = jax.tree.map(jax.numpy.copy, params)
    jax.block_until_ready((params, grads))
    load_spec = optc.load  # imports what it needs
    times = [time.perf_counter()]

    def part(result: object) -> None:
        jax.block_until_ready(result)
        times.append(time.perf_counter())

    optimizer = load_spec("adamw", cache=kept)()
    part(None)
    state = optimizer.init(params)
    part(state)
    params, state, _ = optimizer.apply(params, state, grads)
    part(params)
    part(optimizer.apply(params, state, grads))
    load, init, first, second = (after - before for before, after in pairwise(times))
    return load, init, first - second


if __name__ == "__main__":
    main()
