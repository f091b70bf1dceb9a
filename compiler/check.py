"""Checking a spec: everything that is wrong or doubtful in any item of its file."""

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare
from ..grammar.parse import parse
from ..grammar.source import Span
from .declarations import gather
from .locate import Located, open_use
from .lowering.draft import Draft
from .lowering.pipeline import lower
from .resolve import resolve
from .rules import check_rules
from .structure import check_structure, observed_names

NO_OPTIMIZER = declare(
    "no-optimizer",
    "a spec without the optimizer that is asked for",
    """
    Only an `optimizer` compiles to a program; rules, schedules and functions are its parts. A file
    may hold several optimizers: `FILE.opt:NAME` names one, and without a name the last is meant.
    """,
)


def check(located: Located) -> Diagnostics:
    """Every diagnostic of a spec. Imports no JAX, executes nothing, writes nothing."""
    report = Diagnostics()
    drafts = lowered(located, report)
    if located.name is not None:
        chosen(located, drafts, report)
    return report


def lowered(located: Located, report: Diagnostics) -> list[Draft]:
    """The programs of all optimizers of a file, in order. What is wrong is reported."""
    file = parse(located.source, report)
    declarations = gather(file, open_use(located), report, located.modules)
    observed = observed_names(file)
    drafts = []
    for item in file.items:
        match item:
            case syntax.OptimizerDecl():
                check_structure(item, observed, report)
                drafts.append(lower(resolve(item, declarations, report), report))
            case (
                syntax.RuleDecl() | syntax.ExternDecl() | syntax.ScheduleDecl() | syntax.FuncDecl()
            ):
                check_structure(item, observed, report)
    check_rules(file, declarations, report)
    return drafts


def chosen(located: Located, drafts: list[Draft], report: Diagnostics) -> Draft | None:
    """The program that is meant: the named one, or the last; None, with a report, without one."""
    named = [draft for draft in drafts if located.name in (None, draft.name)]
    if named:
        return named[-1]
    known = ", ".join(f"`{draft.name}`" for draft in drafts)
    wanted = f" `{located.name}`" if located.name else ""
    message = f"`{located.source.name}` has no optimizer{wanted}"
    start = Span(located.source, 0, 0)
    report.add(NO_OPTIMIZER.at(start, message, help=f"it has {known}" if known else None))
    return None
