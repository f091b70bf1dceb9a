"""Calls: what a name stands for, and declared functions, schedules and rules."""

from dataclasses import replace

from ...grammar import syntax
from ...grammar.diagnostic import Label, correction, declare, did_you_mean
from ..constants import NAMED
from ..declarations import Declarations, Found
from ..parameters import takes_function
from ..structure import names_called
from . import closures, expressions, externs, statements
from .arguments import checked, match
from .builder import MISTAKE, Value
from .context import Binding, Context, Scope, Site
from .functions import FUNCTIONS, language_function

UNKNOWN_FUNCTION = declare(
    "unknown-function",
    "a call of something that does not exist",
    """
    What can be called: the functions of the language (`sqrt`, `norm`, `where` ...), the oracles
    (`grad`, `hvp` ...), the functions and schedules that are declared here, in a used file or in
    the library, and rules of the same kind as the rule that calls them.
    """,
)
UNKNOWN_RULE = declare(
    "unknown-rule",
    "a name that no rule of this kind has",
    """
    Rules are found by kind and name: in the file, in the files that it uses, and in the library
    (`optc list` shows it). A rule of another kind does not fit, since each kind sees and returns
    something else.
    """,
)
RECURSION = declare(
    "recursive-rule",
    "a rule, schedule or function that calls itself",
    """
    Calls are replaced by the bodies of what they call, so nothing may call itself, directly or
    through others. Write a bounded loop instead: `repeat 5 { ... }`.
    """,
)

CALLABLE_KINDS = ("perturb", "clip", "precondition", "decay", "tune", "constrain")
"""Kinds whose rules may call rules of the same kind."""


def call(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None = None
) -> Value:
    """The value of a call."""
    if not isinstance(expr.function, syntax.Name):
        shown = expressions.dotted(expr.function)
        message = f"`{shown}` cannot be called here"
        ctx.report.add(UNKNOWN_FUNCTION.at(expr.function.span, message))
        return MISTAKE
    function = expr.function.id
    binding = scope.find(function)
    if binding is not None and binding.closure is not None:
        return closures.apply(ctx, site, scope, expr, binding.closure, name)
    if binding is not None and binding.kind == "parameter" and binding.value.type.is_unknown:
        return MISTAKE  # it may be a function: a declaration is checked without its arguments
    found = declared(site.declarations, site.kind, function)
    if found is None and function in FUNCTIONS:
        return language_function(ctx, site, scope, expr, name)
    if found is None:
        return unknown(ctx, site, scope, expr.function)
    match found.decl:
        case syntax.FuncDecl():
            return _function(ctx, scope, site, expr, found, name)
        case syntax.ScheduleDecl():
            return _schedule(ctx, scope, site, expr, found, name)
        case _:
            return _rule(ctx, scope, site, expr, found, name)


def declared(declarations: Declarations, kind: str, name: str) -> Found | None:
    """What a call means in a body of some kind; None for the language's own and for nothing.

    A function may take the name of one of the language, nothing else may.
    """
    rules = (kind,) if kind in CALLABLE_KINDS else ()
    found = declarations.first(("func", "schedule", *rules), name)
    is_func = found is not None and isinstance(found.decl, syntax.FuncDecl)
    return None if name in FUNCTIONS and not is_func else found


def is_function(site: Site, name: str) -> bool:
    """Whether a name is that of a function, a schedule, or a function of the language."""
    return name in FUNCTIONS or site.declarations.first(("func", "schedule"), name) is not None


def unknown(ctx: Context, site: Site, scope: Scope, name: syntax.Name) -> Value:
    """Report a name that stands for nothing that can be called."""
    if name.id in site.declarations.broken:
        return MISTAKE
    if (binding := scope.find(name.id)) is not None:
        value = expressions.expression(ctx, site, scope, name)
        if not value.type.is_unknown:
            message = f"`{name.id}` is {value.type}, which cannot be called"
            declared = [Label(binding.span, "declared here")] if binding.span else []
            others = (*declared, *ctx.asker_of(name.span))
            ctx.report.add(closures.FUNCTION_VALUE.at(name.span, message, others=others))
        return MISTAKE
    known = FUNCTIONS | site.declarations.names("func") | site.declarations.names("schedule")
    if site.kind in CALLABLE_KINDS:
        known |= site.declarations.names(site.kind)
    help = did_you_mean(name.id, known)
    if kinds := site.declarations.kinds_of(name.id):
        help = f"`{name.id}` is {a_kind(kinds[0])}, which cannot be called here"
    what = f"{site.kind} rule, schedule or function" if site.kind == "tune" else "function"
    message = f"no {what} is named `{name.id}`"
    fix = correction(name.span, known)
    ctx.report.add(UNKNOWN_FUNCTION.at(name.span, message, label="unknown", help=help, fix=fix))
    return MISTAKE


def a_kind(kind: str) -> str:
    """A kind of declaration as messages call it: `a clip rule`, `an optimizer`."""
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{article} {kind}{' rule' if kind in syntax.KINDS else ''}"


# ---- declared functions, schedules and rules


def _function(
    ctx: Context, scope: Scope, site: Site, expr: syntax.Call, found: Found, name: str | None
) -> Value:
    decl = found.decl
    assert isinstance(decl, syntax.FuncDecl)
    inner = bind(ctx, site, scope, expr, found, decl.params)
    if inner is None or not enter(ctx, decl, expr.function):
        return MISTAKE
    signals = {"w": ctx.weights}
    result = name or decl.name.id
    body = Site("func", site.label, signals, found.scope, f"{decl.name.id}_", result)
    ctx.callers.append(expr.span)
    value = statements.body(ctx, body, inner, decl.body)
    ctx.callers.pop()
    ctx.active.pop()
    return value


def _schedule(
    ctx: Context, scope: Scope, site: Site, expr: syntax.Call, found: Found, name: str | None
) -> Value:
    decl = found.decl
    assert isinstance(decl, syntax.ScheduleDecl)
    inner = bind(ctx, site, scope, expr, found, decl.params)
    if inner is None or not enter(ctx, decl, expr.function):
        return MISTAKE
    body = Site("schedule", site.label, {}, found.scope)
    result = expressions.expression(ctx, body, inner, decl.value, name or decl.name.id)
    ctx.active.pop()
    return result


def _rule(
    ctx: Context, scope: Scope, site: Site, expr: syntax.Call, found: Found, name: str | None
) -> Value:
    """A rule called by a rule of its kind. Outside tune its first argument is the signal."""
    decl = found.decl
    assert isinstance(decl, syntax.RuleDecl | syntax.ExternDecl)
    signals = dict(site.signals)
    if site.kind == "tune" and isinstance(decl, syntax.ExternDecl):
        message = f"`{decl.name.id}` gives a whole step, and no step size that arithmetic could use"
        return ctx.mistyped(expr.span, message, f"let it stand alone: `tune step {decl.name.id}()`")
    if site.kind != "tune":
        signal = "u" if site.kind == "decay" else "g"
        if not expr.arguments or expr.arguments[0].name is not None:
            message = f"`{decl.name.id}` needs the signal first: `{decl.name.id}({signal}, ...)`"
            return ctx.mistyped(expr.span, message)
        first, rest = expr.arguments[0], expr.arguments[1:]
        signals[signal] = expressions.expression(ctx, site, scope, first.value)
        expr = syntax.Call(expr.span, expr.function, rest)
    inner = replace(site, signals=signals, prefix=f"{site.prefix}{decl.name.id}_")
    return rule(ctx, replace(inner, result=name or ""), scope, expr, found, signals)


def rule(
    ctx: Context,
    site: Site,
    scope: Scope,
    expr: syntax.Call,
    found: Found,
    signals: dict[str, Value],
) -> Value:
    """The result of a rule whose parameters are the arguments of `expr`."""
    decl = found.decl
    if isinstance(decl, syntax.ExternDecl):
        return externs.extern(ctx, site, scope, expr, found, signals)
    assert isinstance(decl, syntax.RuleDecl)
    inner = bind(ctx, site, scope, expr, found, decl.params)
    if inner is None or not enter(ctx, decl, expr.function):
        return MISTAKE
    body = Site(decl.kind.id, site.label, signals, found.scope, site.prefix, site.result)
    result = statements.body(ctx, body, inner, decl.body)
    ctx.active.pop()
    return result


def enter(ctx: Context, decl: syntax.Node, at: syntax.Node) -> bool:
    """Note that a declaration is being expanded; False, with a report, if it already is."""
    if any(active is decl for active in ctx.active):
        shown = expressions.dotted(at) if isinstance(at, syntax.Name | syntax.Attribute) else ""
        ctx.report.add(RECURSION.at(at.span, f"`{shown}` calls itself"))
        return False
    ctx.active.append(decl)
    ctx.expanded()
    return True


def bind(
    ctx: Context,
    site: Site,
    scope: Scope,
    expr: syntax.Call,
    found: Found,
    params: tuple[syntax.Param, ...],
) -> Scope | None:
    """A scope with the parameters of what was found: the arguments of the call, or the defaults."""
    names = [p.name.id for p in params]
    required = [p.name.id for p in params if p.default is None]
    matched = match(ctx, expr, names, required, found.decl.name.id)
    if matched is None:
        return None
    inner = Scope()
    own = Site("parameters", site.label, {}, found.scope)
    is_func = isinstance(found.decl, syntax.FuncDecl)
    called = {name.id for name in names_called(found.decl) if not is_function(own, name.id)}
    for param in params:
        if param.name.id in matched:
            given, where = matched[param.name.id].value, (site, scope)
        else:
            assert param.default is not None
            given, where = param.default, (own, inner)
        is_called = param.name.id in called
        binding = _parameter(ctx, *where, param, given, is_func, is_called)
        inner.names[param.name.id] = binding
    return inner


def _parameter(
    ctx: Context,
    site: Site,
    scope: Scope,
    param: syntax.Param,
    given: syntax.Expr,
    is_func: bool,
    is_called: bool,
) -> Binding:
    """What a parameter stands for: that of a `func` may be given anything, unless it calls it."""
    span, any_type = param.name.span, is_func and param.type is None
    wants = takes_function(param) or (any_type and is_called)
    if wants or any_type:
        function = closures.closure(ctx, site, scope, given)
        if function is not None:
            return Binding("parameter", span, closure=function)
    if wants and given is param.default:
        return Binding("parameter", span)  # reported where it is declared
    if wants and isinstance(given, syntax.Name) and not _is_known(site, scope, given.id):
        unknown(ctx, site, scope, given)
        return Binding("parameter", span)
    value = expressions.expression(ctx, site, scope, given, param.name.id)
    if wants:
        closures.needed(ctx, param, given, value)
        return Binding("parameter", span)
    return Binding("parameter", span, checked(ctx, param, value, given.span, any_type))


def _is_known(site: Site, scope: Scope, name: str) -> bool:
    """Whether a name stands for a value."""
    return scope.find(name) is not None or name in site.signals or name in ("t", *NAMED)
