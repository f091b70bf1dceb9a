"""Function values: functions handed to functions and rules, expanded where they are called.

A function value never exists in a program. It is a closure: a lambda or the name of a function,
with what its names stand for where it was written. It takes numbers and fields, and no functions;
so expanding one ends, as expanding declarations does.
"""

from dataclasses import replace

from ...grammar import syntax
from ...grammar.diagnostic import declare
from ..constants import NAMED
from . import calls, expressions
from .arguments import match
from .builder import MISTAKE, Value
from .context import Binding, Closure, Context, Scope, Site

FUNCTION_VALUE = declare(
    "function-value",
    "a function where a value is needed, or a value where a function is needed",
    """
    A parameter of a `func`, and one of a rule that is declared as `name: func`, may be given a
    function: `d => ggn(d) + damping * d`, or the name of one, such as `hvp` or that of a declared
    `func`. All that can be done with it is to call it, with numbers and fields by place, or to hand
    it on.

        func quadratic(operator, d) { return dot(d, operator(d)) / 2 }

        rule precondition newton(curvature: func = hvp, damping = 1e-3) {
          return cg(d => curvature(d) + damping * d, g, 10)
        }
    """,
)


def closure(ctx: Context, site: Site, scope: Scope, given: syntax.Expr) -> Closure | None:
    """The function that an argument is, if it is one."""
    if isinstance(given, syntax.Name):
        if (binding := scope.find(given.id)) is not None:
            return binding.closure
        if given.id in site.signals or given.id in ("t", *NAMED):
            return None
        if not calls.is_function(site, given.id):
            return None
    elif not isinstance(given, syntax.Lambda):
        return None
    return Closure(given, site, scope, tuple(ctx.active))


def apply(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, called: Closure, name: str | None
) -> Value:
    """The value of a call of a function value."""
    if not all(_is_value(ctx, site, scope, argument) for argument in expr.arguments):
        return MISTAKE
    function, inner = called.function, Scope()
    if isinstance(function, syntax.Lambda):
        shown, parameter = expressions.dotted(expr.function), function.parameter
        matched = match(ctx, expr, (parameter.id,), (parameter.id,), shown)
        if matched is None:
            return MISTAKE
        inner = Scope(called.scope)
        value = expressions.expression(ctx, site, scope, matched[parameter.id].value, parameter.id)
        ctx.define(inner, parameter, Binding("let", parameter.span, value))
        with ctx.expanding(called.active):
            return expressions.expression(ctx, called.site, inner, function.body, name)
    arguments = []
    for place, argument in enumerate(expr.arguments):
        value = expressions.expression(ctx, site, scope, argument.value)
        # Numbers are no names in the language, so these stand for nothing else.
        handed = syntax.Name(argument.value.span, str(place))
        inner.names[handed.id] = Binding("let", None, value)
        arguments.append(replace(argument, value=handed))
    with ctx.expanding(called.active):
        named = syntax.Call(expr.span, function, tuple(arguments))
        return calls.call(ctx, called.site, inner, named, name)


def check_default(ctx: Context, site: Site, before: Scope, default: syntax.Expr) -> None:
    """Report what is wrong with the default of a parameter that takes a function.

    `before` has the parameters before it, of which a lambda may speak.
    """
    if isinstance(default, syntax.Lambda):
        inner = Scope(before)
        ctx.define(inner, default.parameter, Binding("let", default.parameter.span, MISTAKE))
        expressions.expression(ctx, site, inner, default.body)
    elif isinstance(default, syntax.Name) and not calls.is_function(site, default.id):
        calls.unknown(ctx, site, Scope(), default)


def refuse_value(ctx: Context, given: syntax.Node, shown: str, help: str) -> Value:
    """Report a function that stands where a value is needed."""
    message = f"{shown} is a function, and a value is needed here"
    others = ctx.asker_of(given.span)
    ctx.report.add(
        FUNCTION_VALUE.at(given.span, message, label="a function", help=help, others=others)
    )
    return MISTAKE


def needed(ctx: Context, param: syntax.Param, given: syntax.Expr, value: Value) -> None:
    """Report a value that stands where a parameter takes a function."""
    if not value.type.is_unknown:
        message = f"`{param.name.id}` takes a function; this is {value.type}"
        help = "give the name of one, or write `x => ...`"
        others = ctx.asker_of(given.span)
        ctx.report.add(
            FUNCTION_VALUE.at(given.span, message, label="not a function", help=help, others=others)
        )


def _is_value(ctx: Context, site: Site, scope: Scope, argument: syntax.Argument) -> bool:
    """Whether an argument may be given to a function value; what may not is reported."""
    if argument.name is not None:
        message = "a function that was handed in takes its arguments by place"
        ctx.report.add(
            FUNCTION_VALUE.at(argument.span, message, others=ctx.asker_of(argument.span))
        )
        return False
    if closure(ctx, site, scope, argument.value) is None:
        return True
    message = "a function that was handed in takes numbers and fields, and no functions"
    others = ctx.asker_of(argument.span)
    ctx.report.add(FUNCTION_VALUE.at(argument.span, message, label="a function", others=others))
    return False
