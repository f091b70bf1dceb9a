"""Schedules that do not fit the run, or whose parts do not fit each other."""

import math
from collections.abc import Iterator
from itertools import pairwise

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ...grammar.source import Span
from .plain import values
from .run import (
    LENGTHS,
    Rate,
    Run,
    at_defaults,
    length,
    names,
    part,
    rates,
    report_at,
    schedules,
    steps,
)
from .subject import Subject

EARLY_END = declare(
    "early-end",
    "a schedule that ends before the run",
    """
    The optimizer has a hyperparameter `total`, the number of steps of a run, and its rate is 0, or
    rests at what its schedule ends with, from an earlier step on. Steps of size 0 are lost time.

        optimizer short(lr = 0.1 in [0, inf), total = 10_000 in [1, inf)) {
          decay     weights(0.1 / total)
          tune step linear_decay(peak = lr, total = 5000)
        }

    Hand it on, `total = total`. A rate that rests at a floor on purpose can say so:
    `# allow: early-end`.
    """,
    Severity.WARNING,
)
LATE_END = declare(
    "late-end",
    "a schedule that ends after the run",
    """
    The optimizer has a hyperparameter `total`, the number of steps of a run, and hands a larger
    number to its schedule: the run ends while the rate is still high, and what the last steps of a
    schedule are for never happens. Hand it on, `total = total`.
    """,
    Severity.WARNING,
)
RATE_JUMP = declare(
    "rate-jump",
    "parts of a schedule that do not meet",
    """
    A warm-up ends at another rate than the one at which the next part begins, or a cooldown begins
    below the rate that was held until then:

        where(t <= 800, lr, lr * (1000 - t) / 1000)      # from lr to a fifth of it

    Let a part begin with what the one before it ends with: `lr * (1000 - t) / 200`. Restarts, and
    steps from one constant to another, are no such jumps.
    """,
    Severity.WARNING,
)
LONG_PERIOD = declare(
    "long-period",
    "something that happens once in a run",
    """
    `every n` happens at steps 1, n + 1, 2n + 1 and so on. With an n that is not below the number of
    steps, which the hyperparameter `total` says, it happens at the first step and never again.
    """,
    Severity.WARNING,
)

_ZERO = 1e-15
"""A rate below this part of its peak is 0: so much is left of it by rounding."""

_JUMP = 0.1
"""Parts meet where their rates differ by no more than this part of the larger one."""

_SAMPLES = 64
_HORIZON = 1 << 24
"""Joints are looked for up to this step where nothing says how long a run is."""


def check_schedule(subject: Subject, report: Diagnostics) -> None:
    """Warn of rates that end too early or too late, or jump, and of periods beyond the end."""
    run = length(subject)
    for rate in rates(subject):
        if run is not None:
            samples = _samples(rate, run.total)
            if not _told_another_length(subject, rate, run, max(samples.values()), report):
                _check_rest(subject, rate, run, samples, report)
        _check_joints(subject, rate, run.total if run else _HORIZON, report)
    if run is not None:
        _check_periods(subject, run, report)


# ---- the end


def _samples(rate: Rate, total: int) -> dict[int, float]:
    """The rate at some steps of the run, its first and last among them."""
    places = sorted({1 + (total - 1) * i // _SAMPLES for i in range(_SAMPLES + 1)})
    return {t: rate.at(t) for t in places}


def _told_another_length(
    subject: Subject, rate: Rate, run: Run, peak: float, report: Diagnostics
) -> bool:
    """Report a schedule that is told the length of the run, and told another one."""
    last = rate.at(run.total)
    for given in schedules(subject, rate.stage):
        for name in LENGTHS:
            argument, value = given.arguments.get(name, (None, 0))
            if argument is None or names(argument) or isinstance(value, bool | str):
                continue
            if not math.isfinite(value):
                continue
            end, help = int(value), f"write `{name} = {run.name}`"
            if end < run.total and {rate.at(t) for t in (end, (end + run.total) // 2)} == {last}:
                rule, label = EARLY_END, "ends early"
                message = f"the schedule ends at step {steps(end)}, and `{run.name}` is "
                message += steps(run.total)
            elif end > run.total and abs(last - rate.at(end)) > _JUMP * peak > 0:
                rule, label = LATE_END, f"the last rate is {last:.3g}"
                message = f"the run ends at step {steps(run.total)}, and its schedule at step "
                message += steps(end)
            else:
                continue
            report_at(subject, report, rule, argument.span, message, label=label, help=help)
            return True
    return False


def _check_rest(
    subject: Subject, rate: Rate, run: Run, samples: dict[int, float], report: Diagnostics
) -> None:
    """Report a rate that is 0 for more than the last step."""
    floor = _ZERO * max(abs(value) for value in samples.values())
    moving = [t for t, value in samples.items() if abs(value) > floor]
    if not moving or moving[-1] >= run.total - 1:
        return
    low, high = moving[-1], run.total
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if abs(rate.at(middle)) > floor else (low, middle)
    if high < run.total and not rate.at(high + 1):
        message = (
            f"the rate is 0 from step {steps(high)} on, and `{run.name}` is {steps(run.total)}"
        )
        help = f"let the schedule end at `{run.name}`, or give it a floor"
        label = "ends early"
        report_at(subject, report, EARLY_END, part(rate.stage), message, label=label, help=help)


# ---- joints


def _check_joints(subject: Subject, rate: Rate, horizon: int, report: Diagnostics) -> None:
    """Report the first joint at which the rate jumps."""
    joints = sorted({x for c in _choices(rate) for x in _switch(rate, c, horizon)})
    for joint in joints:
        before = [rate.at(t) for t in range(max(1, joint - 2), joint + 1)]
        after = [rate.at(joint + 1), rate.at(joint + 2)]
        if _jumps(before, after):
            message = (
                f"the rate jumps from {before[-1]:.3g} at step {steps(joint)} "
                f"to {after[0]:.3g} at step {steps(joint + 1)}"
            )
            help = "let the second part begin with what the first one ends with"
            span = part(rate.stage)
            label = "its parts do not meet"
            report_at(subject, report, RATE_JUMP, span, message, label=label, help=help)
            return


def _jumps(before: list[float], after: list[float]) -> bool:
    """Whether a warm-up, or a constant rate, is followed by something that begins elsewhere."""
    if len(before) < 2 or not all(math.isfinite(x) for x in (*before, *after)):
        return False
    old, new = before[-1], after[0]
    slope, fall = before[-1] - before[-2], after[1] - after[0]
    jump = abs(new - old)
    if jump <= _JUMP * max(abs(old), abs(new)) or jump <= 4 * max(abs(slope), abs(fall)):
        return False
    rises = all(x < y for x, y in pairwise(before))
    rests = all(x == old for x in before)
    # A tenth and less is a step that somebody meant.
    return rises or (rests and fall < 0 and 1.5 * _JUMP * old < new < old)


def _choices(rate: Rate) -> Iterator[int]:
    """The conditions by which the rate is one thing or another."""
    nodes = rate.curve.nodes
    for node in rate.curve.moving:
        if node.op == "where":
            yield node.inputs[0]
        elif node.op == "item" and nodes[node.inputs[0]].op == "if":
            yield nodes[node.inputs[0]].inputs[0]


def _switch(rate: Rate, condition: int, horizon: int) -> Iterator[int]:
    """The last step before a condition changes for the first time."""
    if condition in rate.curve.fixed:
        return
    first = bool(rate.curve.all(1).get(condition))
    low, high = 1, 2
    while high < horizon and bool(rate.curve.all(high).get(condition)) == first:
        low, high = high, 2 * high
    high = min(high, horizon)
    if bool(rate.curve.all(high).get(condition)) == first:
        return
    while high - low > 1:
        middle = (low + high) // 2
        same = bool(rate.curve.all(middle).get(condition)) == first
        low, high = (middle, high) if same else (low, middle)
    yield low


# ---- periods


def _check_periods(subject: Subject, run: Run, report: Diagnostics) -> None:
    periods = dict(_periods(subject))
    found = values(subject.nodes, periods, at_defaults(subject))
    for id, span in periods.items():
        period = found.get(id)
        if isinstance(period, int | float) and period >= run.total:
            message = f"this happens at the first step only: `{run.name}` is {steps(run.total)}"
            label = f"a period of {steps(period)} steps"
            help = "give it a period that is shorter than the run"
            report_at(subject, report, LONG_PERIOD, span, message, label=label, help=help)


def _periods(subject: Subject) -> Iterator[tuple[int, Span]]:
    """What stands behind `every`, and the part of the optimizer that says or causes it."""
    observes = {each.index: each.syntax for each in subject.spec.observes}
    for node in subject.nodes.values():
        if node.op != "mod":
            continue
        since, period = (subject.nodes[i] for i in node.inputs)
        counts = since.op == "sub" and [subject.nodes[i].op for i in since.inputs] == [
            "input",
            "const",
        ]
        if not counts or node.type.is_field:
            continue
        if node.stage in observes:
            every = observes[node.stage].every
            if every is not None:
                yield period.id, every.span
        elif node.stage in subject.stages and subject.stages[node.stage].kind != "tune":
            yield period.id, subject.stages[node.stage].syntax.rule.span
