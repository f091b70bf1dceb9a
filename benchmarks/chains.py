"""What people put around AdamW, compiled, against optax: an update of given gradients, applied.

`python -m benchmarks.chains [NAME ...]`. `clip` is by the norm of all gradients; `average` has that,
a decay of matrices alone, a cosine and a mean of the weights; `accumulation` takes a step on each
fourth call, and four calls are timed together; `guard` skips what is not finite. Ours is the
optimizer's own step; `update` is its transformation, where it is another. Held against, as ratios
of medians: goals 4 and 5 of docs/performance.md. `with option` runs where XLA on CPU makes one
kernel of several results, in a process of its own.

XLA counts the dearer side of a choice: of `accumulation` and optax's `guard`, the one that steps.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import optax

import optc

from .interleave import held, interleave, report
from .updates import Tree, few, transformer
from .workers import Worker, worker

SPEC = Path(__file__).parent / "chains.opt"
ROUNDS = 7
SECONDS = 0.3
CALLS = {"accumulation": 4}

TREES = {"a": few, "b": transformer}

CASES: dict[tuple[str, str], tuple[float, float | None]] = {
    # name, tree: what is held against, without the option and with it
    ("clip", "a"): (0.65, 0.45),
    ("clip", "b"): (0.65, 0.45),
    ("average", "b"): (0.70, None),
    ("accumulation", "b"): (0.50, None),
    ("guard", "b"): (0.60, None),
}


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
    """Print a table for each chain and tree."""
    names = tuple(_THEIRS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chains")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--counts", action="store_true", help="what XLA counts, and no times")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    with worker() as plain, worker(option=True) as fused:
        for (name, tree), goals in CASES.items():
            if name in (options.names or names):
                _case(name, tree, goals, {"": plain, " with option": fused}, options.counts)


def _case(
    name: str,
    tree: str,
    goals: tuple[float, float | None],
    workers: dict[str, Worker],
    only_counts: bool,
) -> None:
    leaves = jax.tree.leaves(TREES[tree]())
    weights = sum(leaf.size for leaf in leaves)
    print(f"\n{name}, {len(leaves)} tensors, {weights / 1e6:.1f} M weights")
    sides = {
        f"{who}{where}": (process, ("chains", tree, name, who))
        for where, process in workers.items()
        for who in ("optax", "optc", "update")
    }
    del sides["optax with option"], sides["update with option"]
    for side, (process, words) in sides.items():
        counts = process.counted(*words)
        print(
            f"  {side:18}{counts.accessed / weights:7.2f} bytes accessed per weight, "
            f"{counts.temporary / weights:.2f} of temporaries"
        )
    if only_counts:
        return
    timings = interleave(
        {side: process.stepping(*words) for side, (process, words) in sides.items()}, ROUNDS
    )
    report(timings, "optax")
    for side, goal in zip(("optc", "optc with option"), goals, strict=True):
        if goal is not None:
            held(f"{side}", timings[side].median / timings["optax"].median, goal)
    for process in workers.values():
        process.forget()


if __name__ == "__main__":
    main(sys.argv[1:])
