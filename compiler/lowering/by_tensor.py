"""Choices by tensor, made before the step and never on data: predicates, and `where` with one."""

from ...grammar import syntax
from ...grammar.diagnostic import Label
from ..predicate import BAD_PREDICATE, is_predicate, names_in, predicate
from ..records import Term
from . import expressions, shapes
from .arguments import match
from .builder import MISTAKE, Value
from .context import Context, Scope, Site

_NAMES = ("condition", "yes", "no")


def chooses_tensors(scope: Scope, expr: syntax.Call) -> bool:
    """Whether a call of `where` asks for properties of a tensor that no name here hides."""
    conditions = [a.value for a in expr.arguments if a.name is None or a.name.id == "condition"]
    return any(is_predicate(c, scope.known()) for c in conditions[:1])


def tensors_where(ctx: Context, scope: Scope, condition: syntax.Expr) -> Term | None:
    """The predicate that a condition in a body says, or None where it was reported as wrong.

    Names stand for what they do there: lengths, and whole numbers that are known before.
    """
    known = scope.dimensions()
    for name in names_in(condition):
        binding = scope.find(name.id)
        if name.id in known or binding is None:
            continue
        if (number := ctx.number(binding.value)) is not None:
            known[name.id] = number
            continue
        if not binding.value.type.is_unknown:
            message = f"`{name.id}` is {binding.value.type}, which chooses no tensors"
            help = (
                "compare with literals, `int` parameters, and lengths of `when g is [rows, cols]`"
            )
            others = ctx.asker_of(name.span)
            ctx.report.add(BAD_PREDICATE.at(name.span, message, help=help, others=others))
        return None
    return predicate(condition, ctx.report, known)


def where_tensors(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """`yes` for the tensors that the predicate chooses, `no` for the others.

    Both are worked out as they are anywhere else: a reduction in them runs over all tensors that
    the line sees, as with a `where` that decides while running.
    """
    matched = match(ctx, expr, _NAMES, _NAMES, "where")
    if matched is None:
        return MISTAKE
    term = tensors_where(ctx, scope, matched["condition"].value)
    sides = [matched["yes"].value, matched["no"].value]
    values = [ctx.as_float(expressions.expression(ctx, site, scope, side)) for side in sides]
    if term is None or any(v.type.is_unknown for v in values):
        return MISTAKE
    for value, side in zip(values, sides, strict=True):
        if not (value.type.is_scalar or value.type.is_field):
            message = f"`where` takes numbers or conditions; this is {value.type}"
            return ctx.mistyped(side.span, message)
    yes, no = values
    if (yes.type.dtype == "bool") != (no.type.dtype == "bool"):
        message = f"one side is {yes.type}, the other is {no.type}"
        others = [Label(sides[0].span, str(yes.type))]
        return ctx.mistyped(sides[1].span, message, others=others)
    spans = (sides[0].span, sides[1].span)
    if (wrong := expressions.differently_arranged(ctx, (yes, no), spans)) is not None:
        return wrong
    if not shapes.agree(ctx, (yes, no), spans, "both sides of `where` have"):
        return MISTAKE
    domain = ctx.add_domain(f"{site.label.replace('.', '_')}_tensors", term)
    chosen = ctx.merge(domain, yes, no, name)
    ctx.sides.setdefault(chosen.id, spans)
    return chosen
