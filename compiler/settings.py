"""Values of hyperparameters: those that are set instead of defaults, and what no value may do."""

from collections.abc import Mapping
from dataclasses import replace

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare, did_you_mean
from ..grammar.parse import parse
from ..grammar.source import Span
from .constants import zero_division
from .locate import Located
from .lowering.draft import Draft
from .parameters import OUT_OF_RANGE, Bounds
from .predicate import parameters, python
from .records import Hyperparameter, Scalar

UNKNOWN_SETTING = declare(
    "unknown-setting",
    "a value is set that the optimizer does not have",
    """`--set NAME=VALUE` gives a hyperparameter of the optimizer another default.""",
)


def with_settings(
    draft: Draft, settings: Mapping[str, Scalar], located: Located, report: Diagnostics
) -> Draft:
    """A program with other defaults. What is wrong with them is reported."""
    known = {h.name: h for h in draft.hyperparameters}
    for name, value in settings.items():
        if name not in known:
            help = did_you_mean(name, known)
            message = f"`{draft.name}` has no hyperparameter `{name}`"
            report.add(UNKNOWN_SETTING.at(_declared(located, draft.name), message, help=help))
            continue
        declared = known[name]
        problem = _misfit(declared, value)
        if problem:
            span = _declared(located, draft.name, name)
            report.add(OUT_OF_RANGE.at(span, f"`{name}` is {value}; it {problem}"))
            continue
        fitted = float(value) if declared.kind == "float" else value
        known[name] = replace(declared, default=fitted, derived=None)
    draft = replace(draft, hyperparameters=tuple(known.values()))
    check_divisions(draft, located, report)
    return draft


def check_divisions(draft: Draft, located: Located, report: Diagnostics) -> None:
    """Report conditions that divide by zero where hyperparameters have their defaults.

    A condition chooses tensors or refuses, as `when 10 % k == 1` may, and is known when a program
    is bound.
    """
    values = {h.name: h.default for h in draft.hyperparameters if h.default is not None}
    terms = [domain.predicate for domain in draft.domains]
    terms += [refusal.condition for refusal in draft.refusals]
    divisions = (zero_division(term, values) for term in terms)
    for division in dict.fromkeys(found for found in divisions if found is not None):
        divisor = division.terms[1]
        text = python(division, read=str)
        for name in parameters(divisor)[:1]:
            message = f"`{name}` is {values[name]}, and `{text}` divides by zero"
            report.add(OUT_OF_RANGE.at(_declared(located, draft.name, name), message))


def _declared(located: Located, optimizer: str, parameter: str | None = None) -> Span:
    """Where a parameter of an optimizer is declared, or the optimizer where it is inherited."""
    items = parse(located.source, Diagnostics()).items
    named = (i for i in items if isinstance(i, syntax.OptimizerDecl | syntax.VariantDecl))
    decl = next(item for item in named if item.name.id == optimizer)
    params = (param.name.span for param in decl.params if param.name.id == parameter)
    return next(params, decl.name.span)


def _misfit(declared: Hyperparameter, value: Scalar) -> str | None:
    """What is asked of a value that does not fit its hyperparameter."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match declared.kind:
        case "float" if not is_number:
            return "must be a number"
        case "int" if not isinstance(value, int) or isinstance(value, bool):
            return "must be an integer"
        case "bool" if not isinstance(value, bool):
            return "must be true or false"
        case "str" if not isinstance(value, str):
            return "must be a text"
    limits = Bounds(declared.low, declared.high, declared.low_open, declared.high_open)
    if is_number and not limits.admits(float(value)):
        return limits.phrase()
    return None
