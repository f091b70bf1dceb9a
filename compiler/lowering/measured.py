"""What the model measures of itself: numbers along an axis of each tensor, by name."""

from ...grammar import syntax
from ..types import Type
from . import expressions
from .arguments import match
from .builder import MISTAKE, Value
from .context import Context, Scope, Site
from .oracles import weights_point
from .parts import part


def measured(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    """`measured(name, per)`: one number for each place of an axis, as the pass at `w` saw it."""
    names = ("name", "per")
    matched = match(ctx, expr, names, names, "measured")
    if matched is None:
        return MISTAKE
    what = expressions.expression(ctx, site, scope, matched["name"].value)
    if what.type.is_unknown:
        return MISTAKE
    if what.type.kind != "text":
        message = f"`measured` takes the name of a measurement; this is {what.type}"
        return ctx.mistyped(matched["name"].span, message, 'names are texts: `"logits"`')
    per = part(ctx, matched["per"].value, "measured")
    if per is None:
        return MISTAKE
    if not isinstance(per, int):
        message = "`measured` has one number for each place of an axis: 0, 1, ..."
        return ctx.mistyped(matched["per"].value.span, message)
    point = weights_point(ctx, "measured", expr)
    if point.type.is_unknown:
        return MISTAKE
    type = Type("field", "float", per, ctx.domain)
    inputs = (point, ctx.restricted(ctx.weights), what)
    return ctx.node("measured", inputs, type, name=name, attributes={"per": per})
