"""Warm-ups that are a step off, or longer than the run."""

import math

from ...grammar.diagnostic import Diagnostics, Severity, declare
from .run import LENGTHS, Rate, length, part, rates, report_at, schedules
from .run import steps as shown
from .subject import Subject

IDLE_FIRST_STEP = declare(
    "idle-first-step",
    "a rate of 0 at the first step",
    """
    A warm-up that starts at 0 moves nothing in its first step: a gradient is computed for a step of
    size 0. It comes from counting: `t` is 1 at the first step here and 0 in most frameworks, where
    `t / warmup` has this very effect.

        tune step warmup_cosine_decay(start = 0, peak = lr, warmup = 100, total = 1000)

    `warmup_cosine(peak = lr, warmup = 100, total = 1000)` is the same curve one step ahead: its
    first step has the rate lr / 100, and its last one is the floor.
    """,
    Severity.WARNING,
)
WARMUP_AHEAD = declare(
    "warmup-ahead",
    "a warm-up that leaves out its first step",
    """
    The rate grows as t + 1 does. That is right where steps are counted from 0, and here `t` is 1 at
    the first step: the rate begins with what belongs to the second, and reaches its peak a step
    early, or goes beyond it.

        tune step lr * (t + 1) / 100      # lr * t / 100 is meant
    """,
    Severity.WARNING,
)
LONG_WARMUP = declare(
    "long-warmup",
    "a warm-up that is longer than the run",
    """
    The rate still grows when the run ends, and never reaches its peak.
    """,
    Severity.WARNING,
)

_CLOSE = 1e-9


def check_warmup(subject: Subject, report: Diagnostics) -> None:
    """Warn of the first steps of each rate."""
    for rate in rates(subject):
        first, second, third = (rate.at(t) for t in (1, 2, 3))
        if not all(math.isfinite(x) for x in (first, second, third)):
            continue
        if first == 0 < second:
            _report_idle(subject, rate, report)
        elif _grows_as_next(first, second, third) and _adds_one(rate):
            message = "the warm-up begins with its second step"
            label = f"{first:.3g} at step 1, and {second - first:.3g} more at the next"
            help = "`t` is 1 at the first step: write `t` where this has `t + 1`"
            span = part(rate.stage)
            report_at(subject, report, WARMUP_AHEAD, span, message, label=label, help=help)
        _check_length(subject, rate, report)


def _report_idle(subject: Subject, rate: Rate, report: Diagnostics) -> None:
    called = {given.name for given in schedules(subject, rate.stage)}
    help = "`t` is 1 at the first step, so `t / warmup` starts above 0"
    if "warmup_cosine_decay" in called:
        help = "`warmup_cosine` is one step ahead"
    message, span = "the rate is 0 at the first step", part(rate.stage)
    label = "the first step moves nothing"
    report_at(subject, report, IDLE_FIRST_STEP, span, message, label=label, help=help)


def _grows_as_next(first: float, second: float, third: float) -> bool:
    """Whether three rates are 2, 3 and 4 times the same number."""
    step = first / 2
    close = _CLOSE * abs(first)
    return step > 0 and abs(second - 3 * step) <= close and abs(third - 4 * step) <= close


def _adds_one(rate: Rate) -> bool:
    """Whether the rate is made with `t + 1`."""
    nodes = rate.curve.nodes
    for node in rate.curve.moving:
        if node.op == "add":
            ops = {nodes[i].op for i in node.inputs}
            ones = [rate.curve.fixed.get(i) == 1 for i in node.inputs]
            if "input" in ops and any(ones):
                return True
    return False


def _check_length(subject: Subject, rate: Rate, report: Diagnostics) -> None:
    run = length(subject)
    for given in schedules(subject, rate.stage):
        argument, steps = given.arguments.get("warmup", (None, 0))
        if argument is None or isinstance(steps, bool | str) or not math.isfinite(steps):
            continue
        told = [given.arguments[name][1] for name in LENGTHS if name in given.arguments]
        totals = [x for x in told if not isinstance(x, bool | str)] or ([run.total] if run else [])
        if totals and 0 < totals[0] < steps and rate.at(int(totals[0])) < rate.at(int(steps)):
            message = f"the warm-up has {shown(steps)} steps, and the run {shown(totals[0])}"
            label = "the peak is never reached"
            help = "a warm-up is a small part of a run, such as `0.02 * total`"
            span = argument.span
            report_at(subject, report, LONG_WARMUP, span, message, label=label, help=help)
            return
