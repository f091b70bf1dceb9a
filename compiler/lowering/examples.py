"""Means over the examples of a batch, of a function of one example's gradient."""

from ...grammar import syntax
from ..types import FIELD, Type, dynamic
from . import expressions
from .arguments import match
from .builder import MISTAKE, Value
from .context import Binding, Context, Scope, Site
from .draft import DraftRegion
from .oracles import PER_EXAMPLE, point_of


def per_example_mean(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """`per_example_mean(e => value, at = w)`."""
    matched = match(ctx, expr, ("function", "at"), ("function",), "per_example_mean")
    if matched is None:
        return MISTAKE
    function = matched["function"].value
    at = ctx.weights
    if "at" in matched:
        at = expressions.expression(ctx, site, scope, matched["at"].value, "point")
        if not at.type.is_unknown and not at.type.is_field:
            message = f"`per_example_mean` takes a field here; this is {at.type}"
            return ctx.mistyped(matched["at"].span, message)
    if not isinstance(function, syntax.Lambda):
        message = "`per_example_mean` takes a function of one example's gradient"
        ctx.report.add(PER_EXAMPLE.at(function.span, message, help="write `e => ...`"))
        return MISTAKE
    point = point_of(ctx, "per_example_mean", at, expr)
    if point.type.is_unknown:
        return MISTAKE
    node, gradient = ctx.argument(FIELD, function.parameter.id)
    inner = Scope(scope)
    ctx.define(inner, function.parameter, Binding("let", function.parameter.span, gradient))
    with ctx.open_block("example", [gradient]) as block:
        value = ctx.as_float(expressions.expression(ctx, site, inner, function.body))
    if value.type.is_unknown:
        return MISTAKE
    if not _is_number(value.type):
        message = f"a mean is taken over numbers or fields; this is {value.type}"
        ctx.report.add(PER_EXAMPLE.at(function.body.span, message))
        return MISTAKE
    region = DraftRegion((node, *block.nodes), (value.id,), (node.id,))
    type = dynamic(value.type)
    return ctx.node("per_example_mean", (point,), type, name=name, regions=(region,))


def _is_number(type: Type) -> bool:
    return (type.is_scalar or type.is_field) and type.dtype != "bool"
