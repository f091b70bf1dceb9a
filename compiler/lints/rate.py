"""A rate that multiplies the step, or a part of it, twice."""

from collections.abc import Sequence

from ...grammar.diagnostic import Diagnostics, Label, Severity, declare
from ..lowering.draft import Passage
from .degree import FIXED, Degrees
from .lines import argument_with, shown
from .run import report_at
from .subject import Subject

RATE_TWICE = declare(
    "rate-twice",
    "a rate that multiplies the step twice",
    """
    `tune step` multiplies all that comes from above by the step size. A rule above it, or a decay,
    that is multiplied by the same rate makes the step follow the square of the rate: with a rate of
    1e-3 it is a thousand times too small.

        decay     weights(lr * 0.1)    # multiplied by `lr` again below
        tune step lr

    The rate belongs into `tune step` alone. A decay that is to be scaled by something else stands
    below `tune step`.
    """,
    Severity.WARNING,
)


def check_rate(subject: Subject, report: Diagnostics) -> None:
    """Warn of hyperparameters that the step size grows with, and something else too."""
    tuned = [p for p in subject.draft.passages if subject.stage(p).kind == "tune"]
    sizes = [(p, size) for p in tuned if (size := subject.eta(p)) is not None]
    for parameter in subject.draft.hyperparameters:
        if parameter.static or parameter.default == 0:
            continue
        degrees = Degrees(subject.draft, subject.intervals, parameters={parameter.name})
        if any((degrees[size].exact or 0) >= 1 for _, size in sizes):
            for chain in subject.chains:
                _check_chain(subject, chain, parameter.name, degrees, report)


def _check_chain(
    subject: Subject, chain: Sequence[Passage], rate: str, degrees: Degrees, report: Diagnostics
) -> None:
    tune = next((p for p in chain if subject.stage(p).kind == "tune"), None)
    size = subject.eta(tune) if tune else None
    if tune is None or size is None or (degrees[size].exact or 0) < 1:
        return
    if degrees[size].low >= 2:
        _warn_size(subject, tune, rate, report)
        return
    place = chain.index(tune)
    for passage in chain[:place]:
        before, after = degrees[passage.before], degrees[subject.made(passage)]
        whole = before == FIXED and after.exact == 1
        decay = before == FIXED and (after.low, after.high) == (0, 1)
        part = decay and subject.stage(passage).kind == "decay"
        if (whole or part) and degrees[tune.before].high == 1:
            _warn(subject, passage, tune, rate, report)
            return
    for passage in chain[place + 1 :]:
        if subject.stage(passage).kind in ("constrain", "average"):
            return
        if degrees[passage.before].exact == 1 and degrees[subject.made(passage)].exact == 2:
            _warn(subject, passage, tune, rate, report)
            return


def _warn_size(subject: Subject, tune: Passage, rate: str, report: Diagnostics) -> None:
    message = f"`{rate}` multiplies the step size twice"
    help = f"let one factor be `{rate}`, and the others numbers around 1"
    span = subject.stage(tune).syntax.rule.span
    label = f"grows with the square of `{rate}`"
    report_at(subject, report, RATE_TWICE, span, message, label=label, help=help)


def _warn(
    subject: Subject, passage: Passage, tune: Passage, rate: str, report: Diagnostics
) -> None:
    stage = subject.stage(passage)
    what = "this decay" if stage.kind == "decay" else "the step"
    message = f"`{rate}` multiplies {what} twice, in `{shown(stage)}` and in `tune step`"
    help = f"leave `{rate}` to `tune step`"
    if stage.kind == "decay":
        help += ", or put the decay below it"
    others = (Label(subject.stage(tune).syntax.rule.span, "and here"),)
    span = argument_with(stage, rate)
    report_at(
        subject, report, RATE_TWICE, span, message, label="once here", help=help, others=others
    )
