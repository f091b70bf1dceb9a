"""Checking rules, schedules and functions that no optimizer of the file uses.

A declaration is lowered once with its parameters as free hyperparameters, as a stage of its
kind would lower it, so that its types and names are checked by the same code.
"""

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, declare
from .declarations import Declarations, Found, kind_of
from .lowering import expressions, statements
from .lowering.builder import MISTAKE, TooLargeError, Value
from .lowering.closures import check_default
from .lowering.context import Binding, Context, Scope, Site
from .lowering.externs import check_extern
from .lowering.functions import FUNCTIONS
from .parameters import bounds, kind, takes_function
from .records import ALL, Hyperparameter
from .types import FIELD, SCALAR, Type

HIDDEN_NAME = declare(
    "hidden-name",
    "a schedule or a tune rule that no call can reach",
    """
    Schedules and `tune` rules are called in expressions, where a name of the language stands for
    its function: `min(0.1)` is the smallest element, whatever a schedule `min` says. Give it
    another name. A `func` may take such a name, and rules of other kinds may, since stages are
    looked up by their kind.
    """,
)

_Body = syntax.RuleDecl | syntax.ExternDecl | syntax.ScheduleDecl | syntax.FuncDecl
"""The items that are lowered here; an optimizer is lowered as a whole."""


def check_rules(file: syntax.File, declarations: Declarations, report: Diagnostics) -> None:
    """Report what is wrong inside the declarations of a file, whatever their arguments are."""
    for item in file.items:
        try:
            if isinstance(item, syntax.RuleDecl | syntax.ScheduleDecl | syntax.OptimizerDecl):
                _check_claim(item, report)
            if isinstance(item, _Body):
                _check_name(item, report)
                _check(item, declarations, report)
        except (TooLargeError, RecursionError):
            return


def _check_name(decl: _Body, report: Diagnostics) -> None:
    name = decl.name
    if name.id in FUNCTIONS and kind_of(decl) in ("schedule", "tune"):
        message = f"`{name.id}` is a function of the language, so this can never be called"
        report.add(HIDDEN_NAME.at(name.span, message, label="hidden", help="give it another name"))


def _check(decl: _Body, declarations: Declarations, report: Diagnostics) -> None:
    ctx, scope = _free_parameters(decl.params, report)
    ctx.placed = not isinstance(decl, syntax.FuncDecl)
    before = Scope()
    for param in decl.params:
        # A function takes fields and scalars alike: nothing is known of its arguments.
        is_open = isinstance(decl, syntax.FuncDecl) and param.type is None
        if is_open or takes_function(param):
            scope.names[param.name.id].value = MISTAKE
        if takes_function(param) and param.default is not None:
            check_default(ctx, Site("parameters", "rule", {}, declarations), before, param.default)
        before.names[param.name.id] = scope.names[param.name.id]
    if isinstance(decl, syntax.ExternDecl):
        check_extern(ctx, scope, decl, Found(decl, declarations))
        return
    ctx.active.append(decl)
    site = Site(kind_of(decl), "rule", _signals(ctx, decl), declarations)
    if isinstance(decl, syntax.ScheduleDecl):
        expressions.number(ctx, site, scope, decl.value)
    else:
        statements.body(ctx, site, scope, decl.body)


def _check_claim(
    decl: syntax.RuleDecl | syntax.ScheduleDecl | syntax.OptimizerDecl, report: Diagnostics
) -> None:
    """A claim speaks of the parameters of its item; whether it is true, the tests say."""
    if decl.equals is not None:
        ctx, scope = _free_parameters(decl.params, report)
        _check_arguments(ctx, scope, decl.equals)


def _check_arguments(ctx: Context, scope: Scope, call: syntax.Call) -> None:
    for argument in call.arguments:
        value = argument.value
        if isinstance(value, syntax.Call) and _is_of_claims(value.function):
            _check_arguments(ctx, scope, value)
        else:
            expressions.expression(ctx, _PARAMETERS_ONLY, scope, value)


def _is_of_claims(function: syntax.Expr) -> bool:
    """Whether a call is one of Python: of a dotted name, or `tuple(...)`."""
    tuple_of = isinstance(function, syntax.Name) and function.id == "tuple"
    return tuple_of or isinstance(function, syntax.Attribute)


def _free_parameters(
    params: tuple[syntax.Param, ...], report: Diagnostics
) -> tuple[Context, Scope]:
    ctx = Context(report, {p.name.id: _free(p) for p in params}, [ALL])
    scope = Scope()
    for param in params:
        value = ctx.hyperparameter(param.name.id)
        scope.names[param.name.id] = Binding("parameter", param.name.span, value)
    return ctx, scope


_PARAMETERS_ONLY = Site("claim", "claim", {}, Declarations())


def _free(param: syntax.Param) -> Hyperparameter:
    limits = bounds(param)
    return Hyperparameter(
        name=param.name.id,
        default=None,
        low=limits.low,
        high=limits.high,
        low_open=limits.low_open,
        high_open=limits.high_open,
        kind=kind(param),
    )


def _signals(ctx: Context, decl: _Body) -> dict[str, Value]:
    """What a stage of the rule's kind sees, as values of which only the type is known."""
    if isinstance(decl, syntax.ScheduleDecl):
        return {}
    w = ctx.weights
    if isinstance(decl, syntax.FuncDecl):
        return {"w": w}
    names: dict[str, tuple[tuple[str, Type], ...]] = {
        "decay": (("u", FIELD),),
        "tune": (("u", FIELD), ("g", FIELD)),
        "constrain": (("g", FIELD), ("u", FIELD), ("eta", SCALAR), ("w_next", FIELD)),
        "average": (("g", FIELD), ("u", FIELD), ("eta", SCALAR), ("w_next", FIELD)),
        "guard": (("g", FIELD), ("u", FIELD), ("eta", SCALAR), ("w_next", FIELD), ("loss", SCALAR)),
    }
    own = names.get(decl.kind.id, (("g", FIELD),))
    return {"w": w} | {name: ctx.input("input", name, type, name) for name, type in own}
