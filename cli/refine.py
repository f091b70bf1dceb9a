"""`optc refine`: a schedule from the gradient norms of a run of `optc train`."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from ..api.refinement import refine as refined
from ..api.tables import knots as knots_of
from ..compiler.check import chosen, resolved
from ..compiler.locate import Located
from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics
from ..grammar.format import format
from ..grammar.parse import parse
from ..grammar.source import Source
from .output import CommandError, deliver, note, plural
from .train.metrics import Entry, Metrics
from .train.record import Record

_MOST = 10_000
"""Longer records are thinned to this many norms, as the paper's are."""

_CLOSE = 1e-3
"""The table leaves the schedule by no more than this part of its peak, where points suffice."""

_SCALES_WITH_GRADIENT = ("identity", "momentum", "momentum_ema", "nesterov", "average_gradient")
"""Preconditioners whose direction grows with the gradient, so that SGD's weights are meant."""

_NAMES = {1: ("grad_norm_l1",), 2: ("grad_norm_l2", "grad_norm")}
"""What the norms of each power may be recorded as."""


def refine(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The folder of a finished run.")],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE.opt", help="Where to; - prints it.")
    ] = "refined.opt",
    smoothing: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, metavar="PART", help="The part of the run to smooth over."),
    ] = 0.1,
    power: Annotated[
        int | None,
        typer.Option(
            min=1, max=2, metavar="1|2", help="1: L1 norms, as for Adam. 2: L2 norms, as for SGD."
        ),
    ] = None,
    knots: Annotated[
        int, typer.Option(min=2, metavar="N", help="At most this many points in the table.")
    ] = 100,
) -> None:
    """Write the schedule that a run's gradient norms suggest for the next one.

    A first run is made with `optc train --record-norms`, and its norms say which rates would have
    served it best (arXiv:2310.07831): they bring a warm-up and a cooldown of their own. The peak
    is tuned anew.

    Example:
      optc refine runs/first -o refined.opt
      optc plot refined.opt:refined --set peak=1
    """
    record = Record.read(run / "run.json", "refine")
    chosen_power: Literal[1, 2] = 1 if (power or _power(run, record)) == 1 else 2
    steps, norms = _recorded(run, record, chosen_power)
    if not (norms > 0).any():
        raise CommandError(f"every gradient norm of {run} is zero")
    rates = refined(norms, chosen_power, smoothing)
    places = knots_of(steps, rates, knots, _CLOSE)
    text = _spec(record, chosen_power, smoothing, steps[places], rates[places])
    deliver(output, text)
    line = np.interp(steps, steps[places], rates[places])
    off = float(np.abs(line - rates).max())
    note(
        f"{'refined' if output == '-' else f'wrote {output}'}: from {plural(len(steps), 'norm')}, "
        f"{plural(len(places), 'point')}, off by at most {off:.1e} of the peak"
    )
    if output != "-":
        note(f'use it: `use "{Path(output).name}"` and `tune step refined(peak = lr)`')
    note(f"tune the peak anew; the warm-up is in it, and step {int(steps[-1])} is its last")


# ---- the run


def _power(run: Path, record: Record) -> int:
    """1 for an optimizer whose step does not grow with the gradient, 2 for SGD and its kind."""
    try:
        text = (run / "spec.opt").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot refine: {run} has no spec.opt; say --power 1 or 2") from error
    report = Diagnostics()
    where = Located(Source("spec.opt", text), record.optimizer)
    spec = chosen(where, resolved(where, report), report)
    if spec is None:
        raise CommandError(f"cannot refine: {run}/spec.opt is not understood; say --power 1 or 2")
    inside = [stage for group in spec.groups for stage in group.stages]
    for stage in (*spec.before, *inside, *spec.after):
        rule = stage.syntax.rule
        name = rule.function if isinstance(rule, syntax.Call) else rule
        known = isinstance(name, syntax.Name) and name.id in _SCALES_WITH_GRADIENT
        if stage.kind == "precondition" and not known:
            note(f"power 1: `{rule.span.in_one_line}` makes steps as Adam does")
            return 1
    note("power 2: the steps grow with the gradient, as those of SGD do")
    return 2


def _recorded(
    run: Path, record: Record, power: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps of a run whose norm is known, and the norms."""
    entries = _entries(run)
    name = next((n for n in _NAMES[power] if any(n in e.observed for e in entries)), None)
    if name is None:
        other = 3 - power
        has_other = any(n in e.observed for n in _NAMES[other] for e in entries)
        help = f", or say --power {other}" if has_other else ""
        message = f"{run} has no L{power} norms: train again with --record-norms{help}"
        raise CommandError(message)
    if entries[-1].step < record.steps:
        last = f"step {entries[-1].step} of {record.steps}"
        note(f"warning: the run is not finished; the schedule ends where it does, at {last}")
    found = [(e.step, e.number(name)) for e in entries]
    known = [(step, norm) for step, norm in found if math.isfinite(norm) and norm >= 0]
    if len(known) < len(found):
        note(f"{plural(len(found) - len(known), 'norm')} not finite, and left out")
    if len(known) < 3:
        raise CommandError(f"{run} has {plural(len(known), 'gradient norm')}; three are needed")
    if len(known) > _MOST:
        kept = np.linspace(0, len(known) - 1, _MOST).round().astype(int)
        known = [known[i] for i in kept]
    steps, norms = (np.array(column, np.float64) for column in zip(*known, strict=True))
    return steps, norms


def _entries(run: Path) -> list[Entry]:
    path = run / "metrics.jsonl"
    try:
        entries = list(Metrics(path))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CommandError(f"cannot refine: {path} is not the log of a run") from error
    steps = [entry.step for entry in entries]
    if not entries or any(a >= b for a, b in pairwise(steps)):
        raise CommandError(f"cannot refine: {path} is not the log of a run")
    return entries


# ---- the spec


def _spec(
    record: Record,
    power: int,
    smoothing: float,
    steps: NDArray[np.float64],
    rates: NDArray[np.float64],
) -> str:
    """The schedule as a file, laid out as `optc fmt` has it."""
    points = ", ".join(f"{int(t)}, {_number(r)}" for t, r in zip(steps, rates, strict=True))
    doc = (
        f"The rates that a run of {_word(record.optimizer)} on {_word(record.task)} suggests for "
        f"the next, as parts of `peak`.\n"
        f"arXiv:2310.07831, from the L{power} norms of the gradient to the power -{power}, "
        f"smoothed over {smoothing:g} of the run.\n"
        f"It has a warm-up of its own, and ends at step {int(steps[-1])}."
    )
    text = f'"""\n{doc}\n"""\nschedule refined(peak) = peak * interpolate(t, {points})\n'
    return format(parse(Source("refined.opt", text), Diagnostics()))


def _number(rate: float) -> str:
    """A rate with five digits, which no picture can tell from the whole."""
    return f"{rate:.5g}" if rate else "0"


def _word(name: str) -> str:
    return name if name.isidentifier() else "an optimizer"
