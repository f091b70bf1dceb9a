"""Bytes for each weight of the library's optimizers, with and without the passes on factors.

`python -m benchmarks.folding [NAME ...]`. XLA counts the update of given gradients, applied, on two
matrices of one shape, in place; no clock is involved. Beside it stand the temporaries, and what the
model says that `carry` asks, with the norm that most specs observe and a transformation drops. All
optimizers take five minutes; those that ask for more than the gradient are left out.
"""

import sys

import jax
import jax.numpy as jnp

import optc
from optc.compiler import library
from optc.compiler.graphs import lowered_graph, optimised
from optc.compiler.locate import find
from optc.compiler.traffic import moved

from .updates import counted

SHAPES = [jax.ShapeDtypeStruct((512, 1024), jnp.float32)] * 2
WEIGHTS = 2 * 512 * 1024
FOLDING = ("factor", "carry")


def main(names: list[str]) -> None:
    """Print a line for each, and the names of those that grow."""
    print(f"{'':28}bytes (temporaries), without, model")
    grown = []
    for name in names or library.names("optimizer"):
        try:
            with_passes, without = (_bytes(optc.load(name, without=w)()) for w in ((), FOLDING))
        except ValueError:
            continue  # an optimizer that asks for an objective
        graph, _ = lowered_graph(find(name))
        model = 4 * moved(optimised(graph)).tensors
        print(f"{name:28}{_shown(with_passes)}{_shown(without)}{model:6}", flush=True)
        grown += [name] if with_passes > without else []
    print(f"more with the passes: {', '.join(grown) or 'none'}")


def _bytes(optimizer: optc.Optimizer) -> tuple[float, float]:
    counts = counted(optimizer.transform(), SHAPES)
    return round(counts.accessed / WEIGHTS, 1), round(counts.temporary / WEIGHTS, 1)


def _shown(counts: tuple[float, float]) -> str:
    return f"{counts[0]:8} ({counts[1]})"


if __name__ == "__main__":
    main(sys.argv[1:])
