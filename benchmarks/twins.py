"""Each optimizer of the library that claims to equal one of optax, against it, in one table.

`python -m benchmarks.twins [NAME ...] [--torch PYTHON]`. Both are the update of given gradients,
applied, on the tree of 148 tensors, jitted, with weights and state donated. Bytes and steps have
two columns: in a process as it is, and in one where XLA on CPU makes kernels of several results;
both as shares of the twin's as it is. Bytes are of two matrices: of a pack of small tensors XLA
counts the whole vector for each slice. Held against, over all: the median of each at most 0.85 and
0.65, none above 1.00, and a state has the bytes of its twin's. With `--torch`, an interpreter that
has torch, its fused AdamW runs beside ours, and both behind a clip of the norm of all gradients:
held against 1.1 of torch's with kernels of several results.

`--counts` takes no times, `--compilations` also times trace, lower and compile, held against 0.70.
`--accelerator` has 24 large tensors and a choice of optimizers, all in this process, and starts
with no other behind so many `--seconds`. What is printed is Markdown.

Both sides do the same work: a default of 0 is given as 1e-4. Optax leaves out what a decay of 0
does, since its hyperparameters are fixed when a step is traced; ours can be changed later.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import jax

import optc

from .claims import claiming, defaults, twin
from .elsewhere import elsewhere
from .interleave import Timing, interleave
from .updates import TREES
from .workers import Worker, here, worker

ROUNDS = 5
COMPILATIONS = 3
SECONDS = 0.1
"""Of a sample of steps: short, so that all of the library takes a quarter of an hour."""

SCALARS = 1024
"""So many bytes may a state differ by: counts, and the float hyperparameters that ours keeps."""

PLAIN, ONE_KERNEL = "plain", "one kernel"
GOALS = {PLAIN: 0.85, ONE_KERNEL: 0.65}

ACCELERATED = (
    *("adamw", "sgd", "momentum", "lion", "rmsprop", "adabelief", "nadamw", "adan_optax"),
    *("yogi", "radam", "ademamix", "adopt", "lamb", "schedule_free_adamw"),
)
"""Of each kind one, where compiling takes long."""


@dataclass
class Row:
    """Ours over the twin's, by column: bytes accessed, steps, and time to compile; and counts.

    Times are medians and minima. `state` is how many more bytes our state has.
    """

    name: str
    state: int = 0
    accessed: dict[str, float] = field(default_factory=dict)
    steps: dict[str, tuple[float, float]] = field(default_factory=dict)
    compilation: tuple[float, float] | None = None
    quiet: bool = True


def update(name: str, who: str) -> Any:
    """The update of an optimizer of the library, or of its twin."""
    declared = claiming()[name]
    chosen = {key: _working(value) for key, value in defaults(declared).items()}
    return optc.load(name)(**chosen).transform() if who == "optc" else twin(declared, chosen)


def _working(value: object) -> object:
    """A default, or a small number in place of a 0 for which optax would do nothing."""
    return 1e-4 if isinstance(value, int | float) and value == 0 and value is not False else value


def main(arguments: list[str]) -> None:
    """Print a line for each, then the median and the worst of each column."""
    known = claiming()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.twins")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all, where none is given")
    parser.add_argument("--counts", action="store_true", help="what XLA counts, and no times")
    parser.add_argument("--compilations", action="store_true", help="time to compile, too")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--accelerator", action="store_true", help="few tensors, a choice of names")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start with none after it")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"no claim is made by {', '.join(sorted(unknown))}")
    ends = time.monotonic() + options.seconds
    names = options.names or (ACCELERATED if options.accelerator else tuple(known))
    rows = []
    with ExitStack() as stack:
        workers = _workers(stack, options)
        columns = tuple(workers)
        if options.torch and not options.counts:
            _beside_torch(options, workers)
        _print_row("optimizer", *_heads(columns, options))
        _print_row("---", *("---" for _ in _heads(columns, options)))
        for name in names:
            if time.monotonic() > ends:
                print(f"\n{len(names) - len(rows)} more were not started in time")
                break
            rows.append(_measured(name, workers, options))
            _print_row(f"`{name}`", *_cells(rows[-1], columns, options))
            for process in workers.values():
                process.forget()
    _report(rows, columns)


def _workers(stack: ExitStack, options: argparse.Namespace) -> dict[str, Worker]:
    """The processes in which ours runs, the twin in the first; by column."""
    if options.accelerator:
        print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}\n")
        return {PLAIN: here()}
    made = {PLAIN: worker(), ONE_KERNEL: worker(multi_output=True)}
    return {column: stack.enter_context(each) for column, each in made.items()}


def _tree(options: argparse.Namespace) -> str:
    return "a" if options.accelerator else "b"


def _beside_torch(options: argparse.Namespace, workers: Mapping[str, Worker]) -> None:
    """AdamW and AdamW behind a clip, beside torch's, in milliseconds and as ratios."""
    tree = _tree(options)
    sizes = [str(leaf.size) for leaf in jax.tree.leaves(TREES[tree]())]
    device = "cuda" if options.accelerator else "cpu"
    _print_row("beside torch's fused AdamW", "torch, ms", *(f"step, {c}" for c in workers))
    _print_row("---", "---", *("---" for _ in workers))
    for name in ("adamw", "clipped"):
        with elsewhere(options.torch, "torch_steps.py", device, name, *sizes) as torch:
            variants = {"torch": torch.stepping(SECONDS)}
            for column, process in workers.items():
                variants[column] = process.stepping("adamw", tree, name, "optc")
            timings = interleave(variants, ROUNDS)
        shown = (_ratio_text(_ratios(timings, column, "torch")) for column in workers)
        _print_row(f"`{name}`", f"{1e3 * timings['torch'].median:.2f}", *shown)
        for process in workers.values():
            process.forget()
    print()


def _measured(name: str, workers: Mapping[str, Worker], options: argparse.Namespace) -> Row:
    row, plain = Row(name), workers[PLAIN]
    sides = {"optax": (plain, "optax")} | {c: (each, "optc") for c, each in workers.items()}
    words = {side: ("twins", _tree(options), name, who) for side, (_, who) in sides.items()}
    tree = _tree(options) if options.accelerator else "d"
    counts = {side: p.counted("twins", tree, name, who) for side, (p, who) in sides.items()}
    row.accessed = {c: counts[c].accessed / counts["optax"].accessed for c in workers}
    row.state = counts[PLAIN].state - counts["optax"].state
    if not options.counts:
        steps = {side: process.stepping(*words[side]) for side, (process, _) in sides.items()}
        timings = interleave(steps, ROUNDS)
        row.steps = {column: _ratios(timings, column, "optax") for column in workers}
        row.quiet = all(timing.quiet for timing in timings.values())
    if options.compilations:
        both = {side: plain.compiling(*words[side]) for side in ("optax", PLAIN)}
        row.compilation = _ratios(interleave(both, COMPILATIONS), PLAIN, "optax")
    return row


def _ratios(timings: Mapping[str, Timing], one: str, other: str) -> tuple[float, float]:
    return (
        timings[one].median / timings[other].median,
        timings[one].minimum / timings[other].minimum,
    )


def _heads(columns: Iterable[str], options: argparse.Namespace) -> list[str]:
    heads = [f"bytes, {column}" for column in columns]
    heads += [] if options.counts else [f"step, {column}" for column in columns]
    return [*heads, *(["compilation"] if options.compilations else []), "state, bytes more"]


def _cells(row: Row, columns: Iterable[str], options: argparse.Namespace) -> list[str]:
    cells = [f"{row.accessed[column]:.2f}" for column in columns]
    cells += [] if options.counts else [_ratio_text(row.steps[column]) for column in columns]
    cells += [_ratio_text(row.compilation)] if row.compilation else []
    return [*cells, f"{row.state:+d}" + ("" if row.quiet else ", not quiet")]


def _ratio_text(ratios: tuple[float, float]) -> str:
    return f"{ratios[0]:.2f} ({ratios[1]:.2f})"


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _report(rows: Sequence[Row], columns: Iterable[str]) -> None:
    """Over all: medians, the worst, and what is above 1.00."""
    print("\n| of all | goal | median | worst | above 1.00 |\n|---|---|---|---|---|")
    for column in columns:
        goal = f"{GOALS[column]:.2f}; 1.00"
        _over(f"bytes, {column}", goal, {r.name: r.accessed[column] for r in rows})
        steps = {row.name: row.steps[column][0] for row in rows if row.steps}
        _over(f"step, {column}", goal, steps)
    compiled = {row.name: row.compilation[0] for row in rows if row.compilation}
    _over("trace + lower + compile", "0.70", compiled)
    equal = sum(abs(row.state) < SCALARS for row in rows)
    _print_row("bytes of the state, but for scalars", "equal", f"{equal} of {len(rows)}", "", "")


def _over(what: str, goal: str, ratios: Mapping[str, float]) -> None:
    if ratios:
        worst = max(ratios, key=lambda name: ratios[name])
        above = ", ".join(
            f"`{name}` {ratio:.2f}" for name, ratio in ratios.items() if ratio > 1.005
        )
        _print_row(
            what, goal, f"{median(ratios.values()):.2f}", f"{ratios[worst]:.2f} (`{worst}`)", above
        )


if __name__ == "__main__":
    main(sys.argv[1:])
