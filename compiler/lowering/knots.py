"""`interpolate(x, x0, y0, x1, y1, ...)`: straight lines between tabulated points."""

from itertools import pairwise

from ...grammar import syntax
from ...grammar.diagnostic import Label, declare
from ..ops import OPS
from ..types import join
from . import expressions
from .builder import MISTAKE, Value
from .context import Context, Scope, Site

BAD_KNOTS = declare(
    "bad-knots",
    "a table that `interpolate` cannot use",
    """
    `interpolate(x, x0, y0, x1, y1, ...)` is the value at `x` of the straight lines between the
    points `(x0, y0)`, `(x1, y1)`, ..., and the first or the last `y` outside them. The points are
    numbers that are known when the spec is compiled, and each `x` is larger than the one before.

        schedule tabled(peak) = peak * interpolate(t, 1, 0.0, 100, 1.0, 1000, 0.1)
    """,
)


def interpolate(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """The value of a call of `interpolate`."""
    knots = _knots(ctx, site, scope, expr)
    if knots is None:
        return MISTAKE
    at = expr.arguments[0].value
    x = expressions.expression(ctx, site, scope, at)
    if x.type.is_unknown:
        return MISTAKE
    if not (x.type.is_scalar or x.type.is_field) or x.type.dtype == "bool":
        return ctx.mistyped(at.span, f"`interpolate` takes numbers; this is {x.type}")
    gives = OPS["interpolate"].gives
    assert gives != "join"
    type = join((x.type,), gives, ctx.domain)
    named = {f"{'xy'[place % 2]}{place // 2}": knot for place, knot in enumerate(knots)}
    return ctx.node("interpolate", (x,), type, name=name, attributes=named)


def _knots(ctx: Context, site: Site, scope: Scope, expr: syntax.Call) -> list[float] | None:
    """The numbers of the table, x and y in turn; None, with a report, where it is none."""
    # A report keeps one of two equal findings, so its length would not tell on a second use.
    sound = True
    for argument in expr.arguments:
        if argument.name is not None:
            sound = False
            message = "`interpolate` takes its table by place"
            ctx.report.add(BAD_KNOTS.at(argument.span, message))
    table = expr.arguments[1:]
    if not table or len(table) % 2:
        sound = False
        message = f"`interpolate` has {len(table)} numbers in its table; they come in pairs"
        span = table[-1].span if table else expr.span
        help = "write `interpolate(x, x0, y0, x1, y1, ...)`"
        label = "without a partner" if table else ""
        ctx.report.add(BAD_KNOTS.at(span, message, label=label, help=help))
    numbers = [_number(ctx, site, scope, argument.value) for argument in table]
    steps = zip(pairwise(numbers[::2]), pairwise(table[::2]), strict=True)
    for (left, right), (first, second) in steps:
        if left is not None and right is not None and not left < right:
            sound = False
            message = f"the points of the table are not in order: {right:g} follows {left:g}"
            others = (Label(first.span, "the point before"),)
            ctx.report.add(BAD_KNOTS.at(second.span, message, label="not larger", others=others))
    known = [number for number in numbers if number is not None]
    return known if sound and len(known) == len(table) else None


def _number(ctx: Context, site: Site, scope: Scope, expr: syntax.Expr) -> float | None:
    value = expressions.expression(ctx, site, scope, expr)
    constant = value.constant
    if value.type.is_unknown:
        return None
    if isinstance(constant, bool | str | None) or not abs(constant) < float("inf"):
        message = "a number of the table is not known when the spec is compiled"
        ctx.report.add(BAD_KNOTS.at(expr.span, message, label="not a finite literal"))
        return None
    return float(constant)
