"""Each optimizer of the library that claims to equal one of optax, against it.

`python -m benchmarks.twins [NAME ...]`. Both are the update of given gradients, applied, on the
tree of 148 tensors, jitted, with weights and state donated. Held against, over all: the step
takes at most 1.00 of its twin's time in the median and 1.05 at worst; trace, lower and compile at
most 0.70; a state has the bytes of its twin's. The last lines are the rows of docs/performance.md.
`--counts` takes no times.

Both sides do the same work: a default of 0 is given as 1e-4. Optax leaves out what a decay of 0
does, since its hyperparameters are fixed when a step is traced; ours can be changed later.
"""

import argparse
import sys
from dataclasses import dataclass
from statistics import median

import optax

import optc

from .claims import claiming, defaults, twin
from .interleave import Timing, interleave
from .updates import Tree, compiling, counted, gradients, stepping, transformer

ROUNDS = 5
COMPILATIONS = 3
SECONDS = 0.1
"""Of a sample of steps: short, so that all of the library takes a quarter of an hour."""

SCALARS = 1024
"""So many bytes may a state differ by: counts, and the float hyperparameters that ours keeps."""


@dataclass(frozen=True)
class Row:
    """Ours over the twin's: medians of times with minima as a cross-check, and counts.

    `state` is how many more bytes our state has.
    """

    name: str
    accessed: float
    state: int
    step: float | None = None
    step_minimum: float | None = None
    compilation: float | None = None
    compilation_minimum: float | None = None
    quiet: bool = True


def main(arguments: list[str]) -> None:
    """Print a line for each, then the median and the worst of each column."""
    known = claiming()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.twins")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all, where none is given")
    parser.add_argument("--counts", action="store_true", help="what XLA counts, and no times")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"no claim is made by {', '.join(sorted(unknown))}")
    shapes = transformer()
    grads = gradients(shapes)
    print(f"{'':28}  step (min)   compilation (min)   bytes accessed   state bytes")
    rows = []
    for name in options.names or known:
        chosen = {key: _working(value) for key, value in defaults(known[name]).items()}
        ours, theirs = optc.load(name)(**chosen).transform(), twin(known[name], chosen)
        rows.append(_measured(name, ours, theirs, shapes, None if options.counts else grads))
        print(_line(rows[-1]), flush=True)
    _report(rows)


def _working(value: object) -> object:
    """A default, or a small number in place of a 0 for which optax would do nothing."""
    return 1e-4 if isinstance(value, int | float) and value == 0 and value is not False else value


def _measured(
    name: str,
    ours: optax.GradientTransformation,
    theirs: optax.GradientTransformation,
    shapes: Tree,
    grads: Tree | None,
) -> Row:
    both = {"optax": theirs, "optc": ours}
    counts = {who: counted(tx, shapes) for who, tx in both.items()}
    accessed = counts["optc"].accessed / counts["optax"].accessed
    more = counts["optc"].state - counts["optax"].state
    if grads is None:
        return Row(name, accessed, more)
    variants = {who: stepping(tx, shapes, grads, SECONDS) for who, tx in both.items()}
    steps = interleave(variants, ROUNDS)
    del variants
    compilations = interleave(
        {who: compiling(tx, shapes) for who, tx in both.items()}, COMPILATIONS
    )
    return Row(
        name,
        accessed,
        more,
        *_ratios(steps),
        *_ratios(compilations),
        quiet=all(t.quiet for t in (*steps.values(), *compilations.values())),
    )


def _ratios(timings: dict[str, Timing]) -> tuple[float, float]:
    ours, theirs = timings["optc"], timings["optax"]
    return ours.median / theirs.median, ours.minimum / theirs.minimum


def _line(row: Row) -> str:
    timed = " " * 33
    if row.step is not None:
        timed = (
            f"{row.step:6.2f} ({row.step_minimum:.2f})"
            f"{row.compilation:13.2f} ({row.compilation_minimum:.2f})"
        )
    noise = "" if row.quiet else "  not quiet"
    return f"{row.name:28}{timed}{row.accessed:17.2f}{row.state:+14d}{noise}"


def _report(rows: list[Row]) -> None:
    """The rows of docs/performance.md."""
    print("\n| what, of all optimizers with a twin | goal | median | worst |\n|---|---|---|---|")
    columns = (
        ("step on 148 tensors", "1.00; 1.05", [(r.step, r.name) for r in rows]),
        ("trace + lower + compile", "0.70", [(r.compilation, r.name) for r in rows]),
        ("bytes accessed", "", [(r.accessed, r.name) for r in rows]),
    )
    for what, goal, found in columns:
        values = [(value, name) for value, name in found if value is not None]
        if values:
            worst, name = max(values)
            middle = median(value for value, _ in values)
            print(f"| {what} | {goal} | {middle:.2f} | {worst:.2f} (`{name}`) |")
    equal = sum(abs(row.state) < SCALARS for row in rows)
    print(f"| bytes of the state, but for scalars | equal | {equal} of {len(rows)} equal | |")
    over = [row.name for row in rows if row.step is not None and row.step > 1.05]
    if over:
        print(f"steps above 1.05: {', '.join(over)}")


if __name__ == "__main__":
    main(sys.argv[1:])
