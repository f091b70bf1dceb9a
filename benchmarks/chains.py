"""What people put around AdamW, compiled, against optax: an update of given gradients, applied.

`python -m benchmarks.chains [NAME ...]`. `average` has a clip by the norm of all gradients, a decay
of matrices alone, a cosine and a mean of the weights; `accumulation` takes a step on each fourth
call, and four calls are timed together; `guard` skips what is not finite. Ours is the optimizer's
own step, and `update` its transformation. `one kernel` is our step where XLA on CPU makes kernels
of several results. Held against, of optax's time on the tree of 148 tensors: 0.70, 0.50 and 0.60
without that. A clip alone is in `benchmarks.adamw`.

XLA counts the dearer side of a choice: of `accumulation` and optax's `guard`, the one that steps.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import optax

import optc

from .interleave import held, interleave, report
from .updates import TREES, Tree
from .workers import Worker, worker

SPEC = Path(__file__).parent / "chains.opt"
ROUNDS = 7
SECONDS = 0.3
CALLS = {"accumulation": 4}

TREE = "b"
GOALS = {"average": 0.70, "accumulation": 0.50, "guard": 0.60}
ONE_KERNEL = "one kernel"


def update(name: str, who: str) -> Any:
    """An update by optax, by our step, or by our transformation."""
    if who == "optax":
        return _THEIRS[name]()
    made = optc.load(f"{SPEC}:chained_{name}")()
    return made if who == "optc" else made.transform()


def _clip() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), _adamw())


def _adamw() -> optax.GradientTransformation:
    return optax.adamw(1e-3, weight_decay=0.01)


def _average() -> optax.GradientTransformation:
    """With the mean of the weights as part of the state: they are updated there as outside."""
    schedule = optax.cosine_decay_schedule(1e-3, 10_000)
    steps = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01, mask=_matrices)
    )
    mean = optax.ema(0.999)

    def start(params: Tree) -> Tree:
        return steps.init(params), mean.init(params)

    def advance(grads: Tree, states: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        updates, state = steps.update(grads, states[0], params)
        return updates, (state, mean.update(optax.apply_updates(params, updates), states[1])[1])

    return optax.GradientTransformation(start, advance)


def _matrices(params: Tree) -> Tree:
    return jax.tree.map(lambda x: x.ndim >= 2, params)


_THEIRS = {
    "clip": _clip,
    "average": _average,
    "accumulation": lambda: optax.MultiSteps(_adamw(), 4).gradient_transformation(),
    "guard": lambda: optax.apply_if_finite(_adamw(), 10),
}


def main(arguments: list[str]) -> None:
    """Print a table for each chain."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chains")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(GOALS)}")
    parser.add_argument("--counts", action="store_true", help="what XLA counts, and no times")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - GOALS.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(GOALS)}")
    with worker() as plain, worker(multi_output=True) as fused:
        for name in options.names or GOALS:
            sides = {
                "optax": (plain, "optax"),
                "optc": (plain, "optc"),
                "update": (plain, "update"),
                ONE_KERNEL: (fused, "optc"),
            }
            _chain(name, sides, options.counts)
            plain.forget()
            fused.forget()


def _chain(name: str, sides: Mapping[str, tuple[Worker, str]], only_counts: bool) -> None:
    weights = sum(leaf.size for leaf in jax.tree.leaves(TREES[TREE]()))
    print(f"\n{name}")
    for side, (process, who) in sides.items():
        counts = process.counted("chains", TREE, name, who)
        print(
            f"  {side:10}{counts.accessed / weights:7.2f} bytes accessed per weight, "
            f"{counts.temporary / weights:.2f} of temporaries",
            flush=True,
        )
    if only_counts:
        return
    variants = {
        side: process.stepping("chains", TREE, name, who) for side, (process, who) in sides.items()
    }
    timings = interleave(variants, ROUNDS)
    report(timings, "optax")
    held("step", timings["optc"].median / timings["optax"].median, GOALS[name])


if __name__ == "__main__":
    main(sys.argv[1:])
