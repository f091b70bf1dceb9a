"""Checking a spec: everything that is wrong or doubtful in any item of its file."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare
from ..grammar.parse import parse
from ..grammar.source import Span
from .allow import without_allowed
from .declarations import gather
from .lints import lint
from .locate import Located, open_use
from .lost import check_lost
from .lowering.draft import Draft
from .lowering.pipeline import lower
from .recording import recorded
from .resolve import resolve
from .rules import check_rules
from .settings import check_divisions
from .spec import Spec
from .structure import check_structure, observed_names
from .variants import whole

NO_OPTIMIZER = declare(
    "no-optimizer",
    "a spec without the optimizer that is asked for",
    """
    Only an `optimizer` compiles to a program; rules, schedules and functions are its parts. A file
    may hold several optimizers: `FILE.opt:NAME` names one, and without a name the last is meant.
    """,
)


_Named = TypeVar("_Named", Draft, Spec)


_OPTIMIZERS = syntax.OptimizerDecl | syntax.VariantDecl


def check(located: Located) -> Diagnostics:
    """Every diagnostic of a spec. Imports no JAX, executes nothing, writes nothing."""
    report = Diagnostics()
    drafts = lowered(located, report)
    if located.name is not None:
        chosen(located, drafts, report)
    return without_allowed(report, located.source)


def lowered(
    located: Located, report: Diagnostics, observe: Mapping[str, str] | None = None
) -> list[Draft]:
    """The programs of all optimizers of a file, in order. What is wrong is reported.

    `observe` are observations that each makes too, as texts by name.
    """
    specs = resolved(located, report)
    if observe:
        specs = [recorded(spec, observe) for spec in specs]
    drafts = [lower(spec, report) for spec in specs]
    if not report.has_errors:
        for spec, draft in zip(specs, drafts, strict=True):
            lint(spec, draft, report)
            check_divisions(draft, located, report)
    return drafts


def resolved(located: Located, report: Diagnostics) -> list[Spec]:
    """The specs of all optimizers of a file, in order. What is wrong in any item is reported."""
    file = parse(located.source, report)
    declarations = gather(file, open_use(located), report, located.modules)
    optimizers = [item for item in file.items if isinstance(item, _OPTIMIZERS)]
    wholes = [w for i in optimizers if (w := whole(i, declarations, report))]
    observed = observed_names(each.decl for each in wholes)
    for item in file.items:
        if not isinstance(item, syntax.Edition | syntax.Use | _OPTIMIZERS):
            check_structure(item, observed, report)
    for each in wholes:
        check_structure(each.decl, observed, report)
    check_rules(file, declarations, report)
    specs = [resolve(each.decl, each.scopes, report) for each in wholes]
    for spec in specs:
        check_lost(spec, report)
    return specs


def chosen(located: Located, found: Sequence[_Named], report: Diagnostics) -> _Named | None:
    """The optimizer that is meant: the named one, or the last; None, with a report, without one.

    Where there are mistakes it may be among what could not be understood: then they say enough.
    """
    named = [each for each in found if located.name in (None, each.name)]
    if named:
        return named[-1]
    if report.has_errors:
        return None
    known = ", ".join(f"`{each.name}`" for each in found)
    wanted = f" `{located.name}`" if located.name else ""
    message = f"`{located.source.name}` has no optimizer{wanted}"
    start = Span(located.source, 0, 0)
    report.add(NO_OPTIMIZER.at(start, message, help=f"it has {known}" if known else None))
    return None
