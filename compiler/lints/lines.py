"""The lines of an optimizer, as messages speak of them and point at them."""

from ...grammar import syntax
from ...grammar.source import Span
from ..constants import evaluate
from ..spec import SpecStage
from .run import defaults, names
from .subject import Subject


def shown(stage: SpecStage) -> str:
    """A stage as messages call it: `precondition adam`, `tune step`."""
    rule = stage.syntax.rule
    named = rule.function if isinstance(rule, syntax.Call) else rule
    if stage.kind == "tune":
        return "tune step"
    return f"{stage.kind} {named.id}" if isinstance(named, syntax.Name) else stage.kind


def argument_with(stage: SpecStage, parameter: str) -> Span:
    """The argument of a stage that speaks of a hyperparameter, or else the whole rule."""
    return _only([a.span for a in _arguments(stage) if parameter in names(a)], stage)


def argument_of(subject: Subject, stage: SpecStage, value: float) -> Span:
    """The argument of a stage that has a value, or else the whole rule."""
    known = defaults(subject)
    return _only([a.span for a in _arguments(stage) if evaluate(a, known) == value], stage)


def _arguments(stage: SpecStage) -> list[syntax.Expr]:
    rule = stage.syntax.rule
    return [a.value for a in rule.arguments] if isinstance(rule, syntax.Call) else []


def _only(spans: list[Span], stage: SpecStage) -> Span:
    return spans[0] if len(spans) == 1 else stage.syntax.rule.span
