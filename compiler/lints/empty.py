"""Stages whose `where` leaves no tensor."""

from ...grammar.diagnostic import Diagnostics, Severity, declare
from .. import coverage
from ..records import Term
from .run import report_at
from .subject import Subject

EMPTY_WHERE = declare(
    "empty-where",
    "a stage for no tensor",
    """
    The predicate of a `where` contradicts itself, or that of the group in which the stage stands:
    no weight tensor of any model is left.

        group matrices where ndim >= 2 {
          decay     weights(0.1) where ndim < 2
          tune step lr
        }
    """,
    Severity.WARNING,
)

_NEVER = Term(op="literal", arguments=(False,))


def check_where(subject: Subject, report: Diagnostics) -> None:
    """Warn of stages whose `where` leaves no tensor of those that come to them."""
    domains = subject.spec.domains
    for stage in subject.stages.values():
        where = stage.syntax.where
        if where is None or stage.domain == 0:
            continue
        own = domains[stage.domain]
        chain, number = [], own.parent
        while number and domains[number].view == own.view:
            chain.append(domains[number].predicate)
            number = domains[number].parent
        refused = Term(op="not", arguments=(own.predicate,))
        if coverage.implies(chain, refused) and not coverage.implies(chain, _NEVER):
            message = f"no tensor is left for this `{stage.kind}`"
            help = "no tensor of any model fulfils all of it: leave the stage out, or widen it"
            label = "takes nothing"
            report_at(subject, report, EMPTY_WHERE, where.span, message, label=label, help=help)
