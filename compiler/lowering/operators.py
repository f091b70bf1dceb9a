"""What is asked of a symmetric operator on fields: its spectrum and its trace.

An operator is a function `d => ...` of one field, or the name of an oracle that acts on one. It
becomes a region, which the op calls as often as it needs.
"""

from collections.abc import Mapping
from dataclasses import replace

from ...grammar import syntax
from ..parameters import OUT_OF_RANGE, Bounds
from ..types import FIELD, SCALAR, SPECTRUM, Type
from . import expressions, shapes
from .arguments import NOT_STATIC, match
from .builder import MISTAKE, Value
from .context import Context, Scope, Site
from .draft import DraftRegion
from .oracles import point_of, refuse_in_condition
from .regions import EIGENVALUE, OPERATOR, refuse_result, refuse_to_keep, region

_WHOLE = Bounds(low=1)


def lanczos(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    """`lanczos(operator, start, steps)`: a spectrum of `steps` nodes, as `start` sees it."""
    names = ("operator", "start", "steps")
    matched = match(ctx, expr, names, names, "lanczos")
    if matched is None or (inputs := _iteration(ctx, site, scope, matched, "lanczos")) is None:
        return MISTAKE
    applied = operator(ctx, site, scope, matched["operator"].value)
    if applied is None:
        return MISTAKE
    return ctx.node("lanczos", inputs, SPECTRUM, name=name, regions=(applied,))


def matrix_function(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """`matrix_function(x => value, operator, start, steps)`: a field."""
    names = ("function", "operator", "start", "steps")
    matched = match(ctx, expr, names, names, "matrix_function")
    if matched is None:
        return MISTAKE
    inputs = _iteration(ctx, site, scope, matched, "matrix_function")
    each = _of_a_node(ctx, site, scope, matched["function"].value)
    applied = operator(ctx, site, scope, matched["operator"].value)
    if inputs is None or each is None or applied is None:
        return MISTAKE
    regions = (applied, each)
    return ctx.node("matrix_function", inputs, inputs[0].type, name=name, regions=regions)


def _iteration(
    ctx: Context, site: Site, scope: Scope, matched: Mapping[str, syntax.Argument], method: str
) -> tuple[Value, Value] | None:
    """From which field an iteration starts, and its number of steps."""
    start = expressions.expression(ctx, site, scope, matched["start"].value, "start")
    steps = _whole(ctx, site, scope, "steps", matched["steps"].value)
    whole = start.type.is_like_weights and start.type.dtype == "float"
    if not start.type.is_unknown and not whole:
        message = f"`{method}` starts from a field; this is {start.type}"
        ctx.mistyped(matched["start"].span, message)
        return None
    return ctx.restricted(start), steps


def trace(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    """`hutchinson(operator, samples)` and `xtrace(operator, samples)`."""
    assert isinstance(expr.function, syntax.Name)
    method = expr.function.id
    names = ("operator", "samples")
    matched = match(ctx, expr, names, names, method)
    if matched is None or refuse_to_keep(ctx, expr, f"`{method}` draws"):
        return MISTAKE
    if refuse_in_condition(ctx, expr, f"samples of `{method}`"):
        return MISTAKE
    samples = _whole(ctx, site, scope, "samples", matched["samples"].value)
    applied = operator(ctx, site, scope, matched["operator"].value)
    if applied is None:
        return MISTAKE
    inputs = (ctx.weights, samples)
    return ctx.random(method, inputs, SCALAR, name, regions=(applied,))


def feature_alignment(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """`feature_alignment(x, samples, power, pearson)`: a number for each tensor."""
    names = ("x", "samples", "power", "pearson")
    matched = match(ctx, expr, names, names, "feature_alignment")
    what = "`feature_alignment` draws"
    if matched is None or refuse_to_keep(ctx, expr, what):
        return MISTAKE
    x = expressions.expression(ctx, site, scope, matched["x"].value)
    samples = _whole(ctx, site, scope, "samples", matched["samples"].value)
    power = expressions.number(ctx, site, scope, matched["power"].value)
    pearson = _static(ctx, site, scope, "pearson", matched["pearson"].value, "bool")
    if not x.type.is_unknown and not x.type.is_like_weights:
        message = f"`feature_alignment` takes a field; this is {x.type}"
        return ctx.mistyped(matched["x"].span, message)
    point = point_of(ctx, "feature_alignment", ctx.weights, expr)
    if point.type.is_unknown or refuse_in_condition(ctx, expr, "directions of the outputs"):
        return MISTAKE
    type = Type("field", "float", "tensor")
    # Alignments of one step have their signs in common, and so the derivatives that XLA merges.
    asked = (point, x, samples, power, pearson)
    return ctx.random("feature_alignment", asked, type, name, shared=True)


def quadrature(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """`quadrature(x => value, of = spectrum)`."""
    names = ("function", "of")
    matched = match(ctx, expr, names, names, "quadrature")
    if matched is None:
        return MISTAKE
    spectrum = expressions.expression(ctx, site, scope, matched["of"].value)
    if not spectrum.type.is_unknown and spectrum.type.kind != "spectrum":
        message = f"`quadrature` takes a spectrum here; this is {spectrum.type}"
        return ctx.mistyped(matched["of"].span, message, "`lanczos` makes one")
    each = _of_a_node(ctx, site, scope, matched["function"].value)
    if each is None:
        return MISTAKE
    return ctx.node("quadrature", (spectrum,), SCALAR, name=name, regions=(each,))


def _of_a_node(ctx: Context, site: Site, scope: Scope, function: syntax.Expr) -> DraftRegion | None:
    """The region of a function of an eigenvalue; None where a mistake was reported."""
    found = region(ctx, site, scope, EIGENVALUE, function, SCALAR, ctx.as_float)
    if found is None:
        return None
    value, each = found
    if not value.type.is_scalar or value.type.dtype == "bool":
        message = f"a function of an eigenvalue is a number; this is {value.type}"
        refuse_result(ctx, EIGENVALUE, function, message)
        return None
    return each


def steps_of(ctx: Context, spectrum: Value) -> Value:
    """The number of nodes of a spectrum, which is known before the program runs."""
    node = ctx.made[spectrum.id]
    while node.op == "item":
        source = ctx.made[node.inputs[0]]
        node = ctx.made[source.regions[0].results[int(node["index"])]]
    steps = ctx.made[node.inputs[-1]]
    return Value(steps.id, steps.type)


def operator(ctx: Context, site: Site, scope: Scope, function: syntax.Expr) -> DraftRegion | None:
    """The region of an operator; None where a mistake was reported."""
    type = replace(FIELD, domain=ctx.domain)
    found = region(ctx, site, scope, OPERATOR, function, type, ctx.restricted)
    if found is None:
        return None
    value, applied = found
    is_field = value.type.is_field and value.type.dims is None
    if not (is_field and value.type.dtype == "float"):
        shown = shapes.described(ctx, value.type)
        message = f"an operator makes a field of a field; this is {shown}"
        refuse_result(ctx, OPERATOR, function, message)
        return None
    return applied


def _whole(ctx: Context, site: Site, scope: Scope, name: str, expr: syntax.Expr) -> Value:
    """A fixed whole number, at least 1."""
    value = _static(ctx, site, scope, name, expr, "int")
    if value.type.is_unknown:
        return MISTAKE
    ctx.tighten(value, _WHOLE)
    if isinstance(value.constant, int) and value.constant < 1:
        message = f"`{name}` is {value.constant}; it {_WHOLE.phrase()}"
        ctx.report.add(OUT_OF_RANGE.at(expr.span, message, label="outside"))
        return MISTAKE
    return value


def _static(
    ctx: Context, site: Site, scope: Scope, name: str, expr: syntax.Expr, dtype: str
) -> Value:
    """A number or a truth value that is known before the program runs."""
    value = expressions.expression(ctx, site, scope, expr)
    if value.type.is_unknown:
        return MISTAKE
    if not value.type.is_scalar or not value.type.static or value.type.dtype != dtype:
        what = "an integer" if dtype == "int" else "a truth value"
        message = f"`{name}` takes {what} that is known before the program runs"
        ctx.report.add(NOT_STATIC.at(expr.span, message))
        return MISTAKE
    return value
