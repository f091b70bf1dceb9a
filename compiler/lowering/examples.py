"""Means over the examples of a batch, of a function of one example's gradient."""

from ...grammar import syntax
from ...grammar.diagnostic import Label
from ..types import EXAMPLES, FIELD, Type, dynamic
from . import expressions
from .arguments import match
from .builder import MISTAKE, Value
from .context import Context, Scope, Site
from .draft import DraftRegion
from .oracles import ask
from .regions import EXAMPLE, PER_EXAMPLE, refuse_result, refuse_to_ask, region


def per_example_mean(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """`per_example_mean(e => value, at = w)`, or `of` the gradients that were asked before."""
    matched = match(ctx, expr, ("function", "at", "of"), ("function",), "per_example_mean")
    if matched is None or refuse_to_ask(ctx, expr, "`per_example_mean` is asked"):
        return MISTAKE
    if "at" in matched and "of" in matched:
        message = "`of` has the gradients already, so `at` has no meaning"
        others = (Label(matched["of"].span, "asked there"),)
        ctx.report.add(PER_EXAMPLE.at(matched["at"].span, message, others=others))
        return MISTAKE
    gradients = _gradients(ctx, site, scope, expr, matched)
    if gradients.type.is_unknown:
        return MISTAKE
    function = matched["function"].value
    found = region(ctx, site, scope, EXAMPLE, function, FIELD, ctx.as_float)
    if found is None:
        return MISTAKE
    value, each = found
    if not _is_number(value.type):
        message = f"a mean is taken over numbers or fields; this is {value.type}"
        return refuse_result(ctx, EXAMPLE, function, message)
    type = dynamic(value.type)
    return ctx.node("per_example_mean", (gradients,), type, name=name, regions=(each,))


def mean_of(ctx: Context, gradients: Value, expr: syntax.Call, name: str | None) -> Value:
    """The mean of the gradients of all examples."""
    if refuse_to_ask(ctx, expr, "a mean over examples is taken"):
        return MISTAKE
    node, gradient = ctx.argument(FIELD, "e")
    each = DraftRegion((node,), (gradient.id,), (node.id,))
    return ctx.node("per_example_mean", (gradients,), FIELD, name=name, regions=(each,))


def _gradients(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, matched: dict[str, syntax.Argument]
) -> Value:
    """The gradients that a mean is taken over: those that are given, or those at a point."""
    if "of" in matched:
        given = expressions.expression(ctx, site, scope, matched["of"].value)
        if given.type.is_unknown or given.type == EXAMPLES:
            return given
        message = f"`of` takes the gradients of examples; this is {given.type}"
        help = "ask for them by `per_example_grad(w)`"
        return ctx.mistyped(matched["of"].span, message, help)
    at = ctx.weights
    if "at" in matched:
        at = expressions.expression(ctx, site, scope, matched["at"].value, "point")
        if not at.type.is_unknown and (not at.type.is_field or at.type.dims is not None):
            message = f"`per_example_mean` takes a field here; this is {at.type}"
            return ctx.mistyped(matched["at"].span, message)
    return ask(ctx, "per_example_grad", at, None, expr, None)


def _is_number(type: Type) -> bool:
    return (type.is_scalar or type.is_field) and type.dtype != "bool"
