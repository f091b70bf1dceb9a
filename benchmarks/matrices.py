"""Muon, SOAP and Shampoo on the matrices of a transformer, against what people have.

`python -m benchmarks.matrices [muon|soap|shampoo|size ...] [--layers N] [--steps N]`, all parts
where none is named. The tree is a transformer of 12 layers: 48 matrices of 256 x 256, 24 of
256 x 1024 and 1024 x 256, embeddings and vectors; embeddings and vectors are Adam's everywhere.

- *muon* against `optax.contrib.muon`. Held against: a step at most 0.35 of its time (0.66 on the
  square matrices alone, 0.20 on the others), trace, lower and compile at most 0.30; more than 1.0
  of the machine's product peak on the rectangles, counting what the plain iteration multiplies.
- *soap* and *shampoo* against the ports of `ports`. Held against: the mean step at most 0.65 of the
  port's, and, of N steps (300) with staggered refreshes, the slowest at most 1.6 of the median.
- *size*: what a program has of equations and products does not grow with equal layers.

With `--heavyball PYTHON`, an interpreter that has torch and heavyball, the same matrices go through
heavyball's Muon and SOAP in a process of its own, in turn with the others. Held against: at most
1.0 of its time. Its iteration is in bfloat16, and it reads no embeddings.

Factorisations run in OpenBLAS, whose own threads wait for one another busily: two of them take
several times the processor's time of one on matrices of this size. XLA works on two matrices at
once by itself. So this asks for one thread of OpenBLAS, for all variants, unless told otherwise.
"""

import os

# Read once, when SciPy is imported, which JAX does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

import optc

from . import ports
from .elsewhere import Elsewhere, elsewhere
from .interleave import Timing, Variant, held, interleave, repeated, report
from .updates import Tree, compiling, gradients, jitted, stepping

LAYERS, WIDTH = 12, 256
SQUARES, RECTANGLES = 48, 24
ITERATIONS = 5
"""Of Newton-Schulz."""

PERIOD = 10
"""Steps from one refresh to the next, and so of one sample."""

ROUNDS = 7
COMPILATIONS = 3

SPEC = Path(__file__).parent / "matrices.opt"

Shape = tuple[int, int]
Way = Literal["tensors", "stacked"]

WAYS: tuple[Way, ...] = ("tensors", "stacked")


def transformer(layers: int = LAYERS, width: int = WIDTH) -> Tree:
    """The tree; shapes only."""

    def dense(inputs: int, outputs: int) -> Tree:
        return {"kernel": _shape(inputs, outputs), "bias": _shape(outputs)}

    norm = {"scale": _shape(width), "bias": _shape(width)}
    layer = {
        **{name: dense(width, width) for name in ("query", "key", "value", "out")},
        "mlp_in": dense(width, 4 * width),
        "mlp_out": dense(4 * width, width),
        "attention_norm": norm,
        "mlp_norm": norm,
    }
    return {
        "token_embed": _shape(2048, width),
        "position_embed": _shape(512, width),
        "layers": [layer] * layers,
        "last_norm": norm,
    }


def squares() -> Tree:
    """The square matrices alone."""
    return [_shape(WIDTH, WIDTH)] * SQUARES


def rectangles() -> Tree:
    """The other matrices alone, half of them lying and half of them standing."""
    return [_shape(WIDTH, 4 * WIDTH), _shape(4 * WIDTH, WIDTH)] * (RECTANGLES // 2)


def hidden(tree: Tree) -> Tree:
    """Which tensors are matrices of layers."""

    def chosen(path: Any, leaf: Any) -> bool:
        return leaf.ndim == 2 and "embed" not in jax.tree_util.keystr(path)

    return jax.tree_util.tree_map_with_path(chosen, tree)


def matrices(tree: Tree) -> list[Shape]:
    """The shapes of those."""
    marked = zip(jax.tree.leaves(tree), jax.tree.leaves(hidden(tree)), strict=True)
    return [leaf.shape for leaf, chosen in marked if chosen]


def main(arguments: list[str]) -> None:
    """Print the tables of some parts."""
    parts = {"muon": _muon, "soap": _soap, "shampoo": _shampoo, "size": _size}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matrices")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all, where none is given")
    parser.add_argument("--heavyball", metavar="PYTHON", help="an interpreter that has heavyball")
    parser.add_argument("--layers", type=int, default=LAYERS, help="of the transformer")
    parser.add_argument("--steps", type=int, default=300, help="of which the slowest is looked for")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(parts)
    if unknown:
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(parts)}"
        )
    for name in options.parts or parts:
        parts[name](options)


def _muon(options: argparse.Namespace) -> None:
    goals: dict[str, tuple[Callable[[], Tree], float]] = {
        f"{SQUARES} matrices of {WIDTH} x {WIDTH}": (squares, 0.66),
        f"{RECTANGLES} matrices of {WIDTH} x {4 * WIDTH} and its transpose": (rectangles, 0.20),
        f"a transformer of {options.layers} layers": (partial(transformer, options.layers), 0.35),
    }
    for name, (tree, goal) in goals.items():
        print(f"\nmuon: {name}")
        shapes = tree()
        with ExitStack() as stack:
            _muon_on(shapes, goal, _heavyball(stack, options.heavyball, "muon", shapes))


def _muon_on(shapes: Tree, goal: float, torch: Elsewhere | None) -> None:
    optimizers = {
        "optax": optax.contrib.muon(0.02, muon_weight_dimension_numbers=_dimension_numbers),
        **_lifted("benched_muon"),
    }
    grads = gradients(shapes)
    steps = {name: stepping(tx, shapes, grads) for name, tx in optimizers.items()}
    if torch is not None:
        steps["heavyball"] = lambda: (mean(torch.steps(3)),)
    steps["product of 2048 x 2048"] = _product(2048)
    timings = interleave(steps, ROUNDS)
    report(timings, "optax")
    ours = _best(timings)
    held("step", ours.median / timings["optax"].median, goal)
    if torch is not None:
        held("step, against heavyball", ours.median / timings["heavyball"].median, 1.0)
    peak = 2 * 2048**3 / timings["product of 2048 x 2048"].median
    share = sum(map(_iteration, matrices(shapes))) / ours.median / peak
    print(f"  -> share of the product peak, as the plain iteration counts: {share:.2f}")
    del steps
    _compile(optimizers, shapes, "optax", 0.30)


def _soap(options: argparse.Namespace) -> None:
    print(f"\nsoap: a transformer of {options.layers} layers")
    shapes = transformer(options.layers)
    with ExitStack() as stack:
        torch = _heavyball(stack, options.heavyball, "soap", shapes)
        _spread("benched_soap", ports.for_matrices(ports.soap(), hidden), options, torch)


def _shampoo(options: argparse.Namespace) -> None:
    print(f"\nshampoo: a transformer of {options.layers} layers")
    _spread("benched_shampoo", ports.for_matrices(ports.shampoo(), hidden), options, None)


def _spread(
    name: str,
    port: optax.GradientTransformation,
    options: argparse.Namespace,
    torch: Elsewhere | None,
) -> None:
    """Means and slowest steps of ours, staggered or not, and of the port."""
    shapes = transformer(options.layers)
    optimizers = {
        "port": port,
        "optc": _loaded(name),
        "optc staggered": _loaded(f"{name}_staggered"),
    }
    grads = gradients(shapes)
    variants = {name: _each_step(tx, shapes, grads) for name, tx in optimizers.items()}
    if torch is not None:
        variants["heavyball"] = lambda: torch.steps(PERIOD)
    timings = interleave(variants, max(1, options.steps // PERIOD))
    report(timings, "port")
    print(f"  in milliseconds for one of {PERIOD} steps; of single steps")
    for name, timing in timings.items():
        singles = [step for sample in timing.samples for step in sample]
        middle = median(singles)
        print(
            f"  {name:16} mean {1e3 * mean(singles):8.1f}  median {1e3 * middle:8.1f}"
            f"  slowest of {len(singles)} in medians {max(singles) / middle:5.2f}"
        )
    staggered = timings["optc staggered"]
    held("mean step", _mean(staggered) / _mean(timings["port"]), 0.65)
    singles = [step for sample in staggered.samples for step in sample]
    held("slowest step, staggered, in medians", max(singles) / median(singles), 1.6)
    if torch is not None:
        held("mean step, against heavyball", _mean(staggered) / _mean(timings["heavyball"]), 1.0)
    del variants
    _compile(optimizers, shapes, "port")


def _size(options: argparse.Namespace) -> None:
    """Equations of XLA's input: all, and products; equal layers add calls and nothing else."""
    print("\nsize: operations in the lowered update, calls of functions left out; products")
    for name in ("benched_muon", "benched_soap", "benched_shampoo"):
        for way, tx in _lifted(name).items():
            found = [_operations(tx, transformer(layers)) for layers in (LAYERS, 2 * LAYERS)]
            few, many = found
            print(
                f"  {name:16} {way:16} {LAYERS} layers: {few[0]:6} {few[1]:4}"
                f"   {2 * LAYERS} layers: {many[0]:6} {many[1]:4}"
            )


def _operations(tx: optax.GradientTransformation, shapes: Tree) -> tuple[int, int]:
    state = jax.eval_shape(tx.init, shapes)
    text = jitted(tx).lower(shapes, state, shapes, _shape()).as_text()
    operations = re.findall(r"= \"?(stablehlo\.\w+)", text)
    return len(operations), operations.count("stablehlo.dot_general")


def _lifted(name: str) -> dict[str, optax.GradientTransformation]:
    """An optimizer of the spec in both liftings."""
    return {f"optc, {way}": _loaded(name, way) for way in WAYS}


def _loaded(name: str, way: Way | None = None) -> optax.GradientTransformation:
    return optc.load(f"{SPEC}:{name}", lifting=way)().transform()


def _best(timings: Mapping[str, Timing]) -> Timing:
    """The faster of our two liftings."""
    return min(
        (t for name, t in timings.items() if name.startswith("optc")), key=lambda t: t.median
    )


def _mean(timing: Timing) -> float:
    return mean(step for sample in timing.samples for step in sample)


def _iteration(shape: Shape) -> int:
    """The least operations of the plain iteration: Gram matrix, its square, and the product."""
    small, large = sorted(shape)
    return ITERATIONS * (4 * small**2 * large + 2 * small**3)


def _product(n: int) -> Variant:
    a = jnp.ones((n, n))
    call = jax.jit(lambda a: a @ a)
    return repeated(lambda: call(a), jax.block_until_ready)


def _each_step(tx: optax.GradientTransformation, shapes: Tree, grads: Tree) -> Variant:
    """A sample is one period, each step by itself; the first periods compile and warm up."""
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    kept = [params, jax.tree.map(jnp.copy, tx.init(params))]
    del params
    step, value = jitted(tx), jnp.ones(())

    def one() -> float:
        start = time.perf_counter()
        kept[:] = jax.block_until_ready(step(*kept, grads, value))
        return time.perf_counter() - start

    for _ in range(2 * PERIOD + 1):
        one()
    return lambda: tuple(one() for _ in range(PERIOD))


def _compile(
    optimizers: Mapping[str, optax.GradientTransformation],
    shapes: Tree,
    against: str,
    goal: float | None = None,
) -> None:
    print("  trace, lower and compile")
    variants = {name: compiling(tx, shapes) for name, tx in optimizers.items()}
    timings = interleave(variants, COMPILATIONS)
    report(timings, against, ("trace", "lower", "compile"))
    if goal is not None:
        held("compilation", _best(timings).median / timings[against].median, goal)


def _heavyball(
    stack: ExitStack, interpreter: str | None, method: str, shapes: Tree
) -> Elsewhere | None:
    if interpreter is None:
        return None
    sizes = (f"{rows}x{columns}" for rows, columns in matrices(shapes))
    return stack.enter_context(elsewhere(interpreter, "heavyball_steps.py", method, *sizes))


def _dimension_numbers(params: Tree) -> Tree:
    """Of optax's Muon: which tensors are matrices, None for Adam."""
    numbers = optax.contrib.MuonDimensionNumbers()
    return jax.tree.map(lambda chosen: numbers if chosen else None, hidden(params))


def _shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


if __name__ == "__main__":
    main(sys.argv[1:])
