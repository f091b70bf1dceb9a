"""A constant factor that a later stage takes out again."""

import math
from collections.abc import Sequence

from ...grammar.diagnostic import Diagnostics, Label, Severity, declare
from ..lowering.draft import Passage
from .degree import Degrees
from .lines import shown
from .run import report_at
from .subject import Subject

DEAD_SCALE = declare(
    "dead-scale",
    "a constant factor that a later stage takes out again",
    """
    Adam, a sign, a normalised gradient: what they give does not depend on the scale of what they
    get. A constant factor above them has no effect.

        precondition scaled(10)      # has no effect
        precondition adam()
        tune step    lr

    To take larger steps, put the factor below, or into `tune step`. Where there is an eps in the
    denominator it is meant to be small beside the signal, and a factor changes only what it means;
    give `eps` itself another value for that.
    """,
    Severity.WARNING,
)


def check_dead_scale(subject: Subject, report: Diagnostics) -> None:
    """Warn of stages that multiply the signal by a constant of which nothing is left in the end."""
    for passage in subject.draft.passages:
        factors = subject.factors(passage)
        if not factors or passage.after == passage.before or not _scales(subject, factors):
            continue
        seed = subject.made(passage)
        degrees = Degrees(subject.draft, subject.intervals, seeds={seed})
        if all(degrees[end].exact == 0 for end in subject.ends):
            killer = subject.takes_out(passage, degrees)
            if killer is not None:
                _warn(subject, passage, killer, report)


def _scales(subject: Subject, factors: Sequence[int]) -> bool:
    """Whether factors are positive constants that do something."""
    if not all(i in subject.constants for i in factors):
        return False
    values = [subject.intervals[i].point for i in factors]
    known = [v for v in values if v is not None and 0 < v < math.inf]
    return len(known) == len(values) and any(v != 1 for v in known)


def _warn(subject: Subject, passage: Passage, killer: Passage, report: Diagnostics) -> None:
    stage, later = subject.stage(passage), subject.stage(killer)
    what = "the step size" if stage.kind == "tune" else f"`{shown(stage)}`"
    message = f"{what} has no effect: `{shown(later)}` takes out every constant factor"
    help = f"put it below `{shown(later)}`, or multiply the step size by the factor"
    if "tune" in (stage.kind, later.kind):
        below = f"put `tune step` below `{shown(later)}`"
        help = below if stage.kind == "tune" else "multiply the step size by the factor"
    others = (Label(later.syntax.rule.span, "gives the same for every scale of what it gets"),)
    span = stage.syntax.rule.span
    report_at(
        subject, report, DEAD_SCALE, span, message, label="is taken out", help=help, others=others
    )
