"""The compiled AdamW against hand-written `optax.adamw`: an update of given gradients, applied.

`python -m benchmarks.adamw [--torch PYTHON]`. Each is one jitted function that donates weights and
state, in one process of optax and ours, and in one of ours where XLA makes kernels of several
results. With `--torch`, an interpreter that has torch, its fused AdamW on the CPU runs in turn with
them. The same then with a clip by the global norm before it.

Held against, of optax's time: a step of AdamW at most 1.00 on each tree, and with the option 0.70
on the trees of large tensors; behind a clip 0.65, and with the option 0.45; of torch's 1.1 with the
option. Trace, lower and compile of AdamW at most 0.70 on the trees of many tensors. What XLA counts
is a test (tests/specs/test_costs.py, tests/runtime/test_multi_output.py) and printed here beside.
"""

import argparse
import sys
from contextlib import ExitStack

import jax
import optax

import optc

from . import chains
from .elsewhere import elsewhere
from .interleave import held, interleave, report
from .updates import TREES, Counts, Tree, compiling, nbytes
from .workers import worker

ROUNDS = 7
SECONDS = 0.15
COMPILATIONS = 5
ONE_KERNEL = "optc, one kernel"

ALL, LARGE = ("a", "b", "c"), ("a", "b")
"""The trees, and those whose steps are a matter of bytes."""

GOALS = {"adamw": (1.00, 0.70), "clipped": (0.65, 0.45)}
"""For the step, plain and with the option."""


def update(name: str, who: str) -> optax.GradientTransformation:
    """An update by optax, or by our transformation."""
    if name == "clipped":
        return chains.update("clip", "optax" if who == "optax" else "update")
    if who == "optax":
        return optax.adamw(1e-3, weight_decay=0.01)
    return optc.load("adamw")().transform()


def main(arguments: list[str]) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adamw")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--tree", choices=ALL, action="append", help="of these trees alone")
    options = parser.parse_args(arguments)
    for letter in options.tree or ALL:
        shapes = TREES[letter]()
        leaves = jax.tree.leaves(shapes)
        weights = sum(leaf.size for leaf in leaves)
        print(f"\n({letter}) {len(leaves)} tensors, {weights / 1e6:.1f} M weights")
        for name in GOALS if letter in LARGE else ("adamw",):
            _steps(name, letter, shapes, options.torch)
        if letter != "a":
            _compilations(shapes)


def _steps(name: str, letter: str, shapes: Tree, torch: str | None) -> None:
    with ExitStack() as stack:
        plain, fused = (stack.enter_context(worker(multi_output=each)) for each in (False, True))
        sides = {"optax": (plain, "optax"), "optc": (plain, "optc"), ONE_KERNEL: (fused, "optc")}
        print(f"  {name}")
        for side, (process, who) in sides.items():
            counts = process.counted("adamw", letter, name, who)
            print(f"    {side:{len(ONE_KERNEL)}} {_shown(counts, shapes)}")
        variants = {
            side: process.stepping("adamw", letter, name, who)
            for side, (process, who) in sides.items()
        }
        if torch:
            sizes = (str(leaf.size) for leaf in jax.tree.leaves(shapes))
            script = elsewhere(torch, "torch_steps.py", "cpu", name, *sizes)
            variants["torch"] = stack.enter_context(script).stepping(SECONDS)
        timings = interleave(variants, ROUNDS)
    report(timings, "optax")
    without, one_kernel = GOALS[name]
    held("step", timings["optc"].median / timings["optax"].median, without)
    if letter in LARGE:
        best = timings[ONE_KERNEL].median
        held("step, one kernel", best / timings["optax"].median, one_kernel)
        if torch:
            held("step, one kernel, against torch", best / timings["torch"].median, 1.1)


def _compilations(shapes: Tree) -> None:
    optimizers = {
        "optax": optax.adamw(1e-3, weight_decay=0.01),
        "optc": optc.load("adamw")().transform(),
    }
    print("  adamw, trace, lower and compile")
    compiles = {name: compiling(tx, shapes) for name, tx in optimizers.items()}
    timings = interleave(compiles, COMPILATIONS)
    report(timings, "optax", ("trace", "lower", "compile"))
    held("compilation", timings["optc"].median / timings["optax"].median, 0.70)


def _shown(counts: Counts, shapes: Tree) -> str:
    weights = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    kept = nbytes(shapes) + counts.state
    return (
        f"{counts.accessed / weights:.2f} bytes accessed per weight, "
        f"{counts.temporary} bytes of temporaries, "
        f"{counts.aliased / kept:.0%} of weights and state in place"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
