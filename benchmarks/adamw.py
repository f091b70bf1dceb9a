"""The compiled AdamW against hand-written `optax.adamw`: an update of given gradients, applied.

Both are one jitted function that donates weights and state. Held against: at most 1.00 of optax's
time for a step, on each tree; at most 0.70 of its time to trace, lower and compile, on the trees of
many tensors. What XLA counts is a test (tests/specs/test_costs.py) and printed here beside.
"""

from collections.abc import Callable

import jax
import optax

import optc

from .interleave import held, interleave, report
from .updates import (
    Tree,
    compiling,
    counted,
    few,
    gradients,
    nbytes,
    small,
    stepping,
    transformer,
)

ROUNDS = 7
COMPILATIONS = 5

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

        grads = gradients(shapes)
        print("  one step")
        steps = {name: stepping(tx, shapes, grads) for name, tx in optimizers.items()}
        timings = interleave(steps, ROUNDS)
        report(timings, "optax")
        held("step", timings["optc"].median / timings["optax"].median, 1.00)
        del steps, grads

        print("  trace, lower and compile")
        compiles = {name: compiling(tx, shapes) for name, tx in optimizers.items()}
        timings = interleave(compiles, COMPILATIONS)
        report(timings, "optax", ("trace", "lower", "compile"))
        goal = GOALS[letter]
        if goal is not None:
            held("compilation", timings["optc"].median / timings["optax"].median, goal)


def _counts(optimizer: optax.GradientTransformation, shapes: Tree, weights: int) -> str:
    counts = counted(optimizer, shapes)
    kept = nbytes(shapes) + counts.state
    return (
        f"{counts.accessed / weights:.2f} bytes accessed per weight, "
        f"{counts.temporary} bytes of temporaries, "
        f"{counts.aliased / kept:.0%} of weights and state in place"
    )


if __name__ == "__main__":
    main()
