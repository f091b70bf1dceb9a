"""Stages after `tune step` whose work is lost, since a later rule works the weights out anew."""

from collections.abc import Generator, Iterator

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, Severity, declare
from . import coverage
from .records import Term
from .spec import Spec, SpecStage
from .structure import names_read

LOST_STAGE = declare(
    "lost-stage",
    "a stage that a later one takes no notice of",
    """
    What stands after `tune step` changes the step, and with it `w_next`. A `constrain` or
    `average` rule that does not read `w_next` works out the weights anew from `w`, `eta` and `u`,
    which are what `tune step` received and gave.

        tune step lr
        decay     weights(1e-4)       # lost
        average   schedule_free()

    Put the stage above `tune step`. A `constrain` that is lost would have to stand after the
    other one, or in a rule that reads `w_next`.
    """,
    Severity.WARNING,
)


def check_lost(spec: Spec, report: Diagnostics) -> None:
    """Warn of stages after `tune step` that change nothing for some of their tensors."""
    working: list[SpecStage] = []
    for stage in _after_tune(spec):
        if stage.kind in ("constrain", "average") and not _reads_next(stage):
            for lost in [s for s in working if _meet(spec, s, stage)]:
                _warn(lost, stage, report)
                working.remove(lost)
        working.append(stage)


def _warn(lost: SpecStage, later: SpecStage, report: Diagnostics) -> None:
    name = _rule_name(later)
    message = f"`{later.kind} {name}` takes no notice of what this `{lost.kind}` does"
    help = None if lost.kind == "constrain" else "put it above `tune step`"
    others = (Label(later.syntax.rule.span, "works out the weights from `w`, `eta` and `u`"),)
    span = lost.syntax.rule.span
    report.add(LOST_STAGE.at(span, message, label="is lost", help=help, others=others))


def _after_tune(spec: Spec) -> Iterator[SpecStage]:
    """The stages that make something of the step, or of the weights after it."""
    tuned = yield from _part(spec.before, tuned=False)
    ends = []
    for group in spec.groups:
        ends.append((yield from _part(group.stages, tuned)))
    yield from _part(spec.after, tuned or any(ends))


def _part(stages: tuple[SpecStage, ...], tuned: bool) -> Generator[SpecStage, None, bool]:
    for stage in stages:
        if stage.kind == "tune":
            tuned = True
        elif tuned and stage.kind not in ("guard", "accumulate"):
            yield stage
    return tuned


def _rule_name(stage: SpecStage) -> str:
    rule = stage.syntax.rule
    named = rule.function if isinstance(rule, syntax.Call) else rule
    return named.id if isinstance(named, syntax.Name) else ""


def _reads_next(stage: SpecStage) -> bool:
    """Whether a rule speaks of `w_next`. What is no rule is given the benefit of the doubt."""
    found = stage.declarations.find(stage.kind, _rule_name(stage))
    if found is None or not isinstance(found.decl, syntax.RuleDecl):
        return True
    return "w_next" in names_read(found.decl.body)


def _meet(spec: Spec, one: SpecStage, other: SpecStage) -> bool:
    """Whether some tensor passes both stages."""
    first, *rest = _predicates(spec, one.domain)
    return not coverage.implies(
        (*rest, *_predicates(spec, other.domain)), Term(op="not", arguments=(first,))
    )


def _predicates(spec: Spec, domain: int) -> list[Term]:
    """What holds for each tensor of a domain, as far as it is told of tensors as they are."""
    found = [spec.domains[0].predicate]
    while domain:
        if spec.domains[domain].view is None:
            found.append(spec.domains[domain].predicate)
        domain = spec.domains[domain].parent
    return found[::-1]
