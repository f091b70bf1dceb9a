"""Histories: the last few fields that a rule pushed, and matrices that are made of them."""

from ...grammar import syntax
from ...grammar.diagnostic import declare
from ..records import Scalar
from ..types import Type
from . import expressions
from .arguments import NOT_STATIC, match
from .builder import MISTAKE, Value
from .context import Context, Scope, Site
from .regions import refuse_in_turn

HISTORY = declare(
    "history",
    "a history that is made, or changed, where it cannot be kept",
    """
    A history holds the last fields that were pushed. It is a state, empty at first, and changes by
    `push` alone, for all its tensors at once; `inverse_fisher` and `inverse_hessian` read it.

        state window = history(g, 32)
        window <- push(window, g)
        return inverse_fisher(window, g, damping)
    """,
)

_FIELDS = {
    "push": ("history", "x"),
    "inverse_fisher": ("history", "x", "damping"),
    "inverse_hessian": ("steps", "changes", "x", "scale"),
}
HISTORIES = ("history", *_FIELDS)
"""Functions of the language about histories."""

_KINDS = {"x": "a field", "damping": "a number", "scale": "a number"}


def empty_history(ctx: Context, site: Site, scope: Scope, expr: syntax.Call) -> Value:
    """The value that a state starts with: `history(like, size)`, in the frame of fresh states."""
    names = ("like", "size", "products")
    matched = match(ctx, expr, names, names[:2], "history")
    if matched is None:
        return MISTAKE
    like = expressions.expression(ctx, site, scope, matched["like"].value)
    size = expressions.number(ctx, site, scope, matched["size"].value)
    if like.type.is_unknown or size.type.is_unknown:
        return MISTAKE
    if not like.type.is_like_weights:
        return ctx.mistyped(
            matched["like"].span, f"a history is one of fields; this is {like.type}"
        )
    if not (size.type.static and size.type.dtype == "int" and ctx.can_transplant(size)):
        message = "the size of a history is an integer that is known before the program runs"
        ctx.report.add(NOT_STATIC.at(matched["size"].span, message))
        return MISTAKE
    if isinstance(size.constant, int) and size.constant < 1:
        message = "a history has a place for at least one field"
        ctx.report.add(HISTORY.at(matched["size"].span, message))
        return MISTAKE
    attributes: dict[str, Scalar] = {}
    if (products := matched.get("products")) is not None:
        if not isinstance(products.value, syntax.Bool):
            message = "`products` is `true` or `false`, written out"
            ctx.report.add(HISTORY.at(products.value.span, message))
            return MISTAKE
        attributes = {"products": True} if products.value.value else {}
    with ctx.in_frame(ctx.start):
        places = ctx.transplant(size)
        shaped = ctx.node("zeros", (ctx.weights,), Type("field", domain=ctx.domain))
        type = Type("history", domain=ctx.domain)
        return ctx.node("history", (shaped, places), type, attributes=attributes)


def of_history(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """The value of a call of one of `HISTORIES`."""
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    if function == "history":
        help = "`state pairs = history(g, 10)`"
        message = "a history is kept between steps, so it is what a state starts with"
        ctx.report.add(HISTORY.at(expr.span, message, help=help))
        return MISTAKE
    names = _FIELDS[function]
    matched = match(ctx, expr, names, names, function)
    if matched is None:
        return MISTAKE
    values: dict[str, Value] = {}
    for key in names:
        piece = matched[key].value
        value = expressions.expression(ctx, site, scope, piece)
        if not _takes(key, value):
            wanted = _KINDS.get(key, "a history")
            return ctx.mistyped(
                piece.span, f"`{function}` takes {wanted} here; this is {value.type}"
            )
        values[key] = value
    if any(value.type.is_unknown for value in values.values()):
        return MISTAKE
    if refuse_in_turn(ctx, expr, f"`{function}` speaks of all tensors"):
        return MISTAKE
    field, spans = values["x"], (matched["x"].span,)
    wrong = expressions.differently_arranged(ctx, (field,), spans)
    if wrong is not None:
        return wrong
    kept = next(value for value in values.values() if value.type.kind == "history")
    if kept.type.domain != ctx.domain:
        message = f"`{function}` speaks of all tensors of the history, and this is for some of them"
        help = "let the history belong to the same tensors, or do it outside the choice"
        ctx.report.add(HISTORY.at(expr.span, message, help=help))
        return MISTAKE
    values["x"] = ctx.restricted(field)
    given = [ctx.as_float(value) if value.type.is_scalar else value for value in values.values()]
    type = Type("history" if function == "push" else "field", domain=ctx.domain)
    return ctx.node(function, given, type, name=name)


def _takes(key: str, value: Value) -> bool:
    type = value.type
    if type.is_unknown:
        return True
    match _KINDS.get(key):
        case "a field":
            return type.is_like_weights and type.dtype == "float"
        case "a number":
            return type.is_scalar and type.dtype != "bool"
        case _:
            return type.kind == "history"
