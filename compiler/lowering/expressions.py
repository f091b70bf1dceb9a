"""Expressions: names, arithmetic, conditions. Calls are in `lowering.calls`."""

from collections.abc import Sequence

from ...grammar import syntax
from ...grammar.diagnostic import Label, declare
from ...grammar.source import Span
from ..constants import NAMED, OPERATORS
from ..ops import OPS
from ..predicate import BAD_PREDICATE, TENSOR_NAMES
from ..types import ONE_FOR_ALL, Type
from . import calls, closures, matrices, shapes
from .builder import MISTAKE, Value
from .context import Context, Scope, Site

NO_VALUE = declare(
    "no-finite-value",
    "arithmetic on literals that has no finite result",
    """
    `1 / 0`, `sqrt(-1)` and `9^9^9^9` can be worked out before anything runs, and have no value
    that a program could use.
    """,
)


def expression(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Expr, name: str | None = None
) -> Value:
    """The value of `expr`. `name` is what the spec calls it; literals and ops carry it along."""
    match expr:
        case syntax.Number() | syntax.Bool() | syntax.String():
            return ctx.constant(expr.value, name)
        case syntax.Name():
            return _name(ctx, site, scope, expr)
        case syntax.Attribute():
            return _attribute(ctx, site, scope, expr)
        case syntax.Unary():
            return _unary(ctx, site, scope, expr, name)
        case syntax.Binary():
            return _binary(ctx, site, scope, expr, name)
        case syntax.Call():
            return calls.call(ctx, site, scope, expr, name)
        case syntax.Lambda():
            help = "parameters of a `func`, and those declared as `name: func`, take functions"
            return closures.refuse_value(ctx, expr, "this", help)
        case syntax.IsShape():
            message = "`is [...]` chooses tensors; it has no value here"
            help = "write `when` for a choice by shape: `when g is [rows, cols] { ... }`"
            ctx.report.add(BAD_PREDICATE.at(expr.span, message, help=help))
    return MISTAKE


def condition(ctx: Context, site: Site, scope: Scope, expr: syntax.Expr) -> Value:
    """The value of `expr` as one condition."""
    value = expression(ctx, site, scope, expr)
    if value.type.is_unknown or (value.type.is_scalar and value.type.dtype == "bool"):
        return value
    return ctx.mistyped(expr.span, f"a condition is needed; this is {value.type}")


def number(ctx: Context, site: Site, scope: Scope, expr: syntax.Expr) -> Value:
    """The value of `expr` as one number."""
    value = expression(ctx, site, scope, expr)
    if value.type.is_unknown or (value.type.is_scalar and value.type.dtype != "bool"):
        return value
    return ctx.mistyped(expr.span, f"a number is needed; this is {value.type}")


def _name(ctx: Context, site: Site, scope: Scope, expr: syntax.Name) -> Value:
    if binding := scope.find(expr.id):
        if binding.closure is not None:
            help = f"call it: `{expr.id}(...)`"
            return closures.refuse_value(ctx, expr, f"`{expr.id}`", help)
        return ctx.cells.get(binding.cell, MISTAKE) if binding.cell >= 0 else binding.value
    if expr.id in site.signals:
        return site.signals[expr.id]
    if expr.id == "t":
        return ctx.count
    if expr.id in NAMED:
        return ctx.constant(NAMED[expr.id])
    if expr.id in TENSOR_NAMES:
        ctx.report.add(
            BAD_PREDICATE.at(
                expr.span,
                f"`{expr.id}` is a property of a tensor, not a value",
                help="use it in `where`, `group ... where` or `when`",
            )
        )
        return MISTAKE
    if calls.is_function(site, expr.id):
        return closures.refuse_value(ctx, expr, f"`{expr.id}`", f"call it: `{expr.id}(...)`")
    known = scope.known() | set(site.signals) | {"t", "pi", "inf"}
    return ctx.unknown(expr, known)


def _attribute(ctx: Context, site: Site, scope: Scope, expr: syntax.Attribute) -> Value:
    if expr.name.id == "T":
        return matrices.transpose(ctx, expression(ctx, site, scope, expr.value), expr.value.span)
    path = dotted(expr)
    if path in ctx.named:
        return ctx.named[path]
    if path in ctx.kept:
        return ctx.cells.get(ctx.kept[path], MISTAKE)
    known = {*ctx.named, *ctx.kept}
    return ctx.unknown(
        syntax.Name(expr.span, path), known, "is not a named value of a stage before this line"
    )


def dotted(expr: syntax.Expr) -> str:
    """A path of names as text, `clip.scale`; other expressions as they were written."""
    match expr:
        case syntax.Name():
            return expr.id
        case syntax.Attribute():
            return f"{dotted(expr.value)}.{expr.name.id}"
        case _:
            return expr.span.text


def _unary(ctx: Context, site: Site, scope: Scope, expr: syntax.Unary, name: str | None) -> Value:
    operand = expression(ctx, site, scope, expr.operand)
    op = "neg" if expr.op == "-" else "not"
    if expr.op == "-" and isinstance(expr.operand, syntax.Number):
        return ctx.constant(-expr.operand.value, name)
    return elementwise(ctx, op, (operand,), (expr.operand.span,), expr.op, name)


def _binary(ctx: Context, site: Site, scope: Scope, expr: syntax.Binary, name: str | None) -> Value:
    if expr.op == "matches":
        message = "`matches` chooses tensors; it has no value here"
        ctx.report.add(BAD_PREDICATE.at(expr.span, message))
        return MISTAKE
    left = expression(ctx, site, scope, expr.left)
    right = expression(ctx, site, scope, expr.right)
    if expr.op == "@":
        return matrices.product(ctx, scope, expr, left, right, name)
    spans = (expr.left.span, expr.right.span)
    return elementwise(ctx, OPERATORS[expr.op], (left, right), spans, expr.op, name)


def elementwise(
    ctx: Context,
    op: str,
    values: tuple[Value, ...],
    spans: tuple[Span, ...],
    shown: str,
    name: str | None = None,
) -> Value:
    """Apply an elementwise op after checking what it takes; `shown` names it in messages."""
    if any(v.type.is_unknown for v in values):
        return MISTAKE
    if op in ("eq", "ne") and all(v.type.kind == "text" for v in values):
        return ctx.apply(op, *values, name=name)
    for value, takes, span in zip(values, OPS[op].takes, spans, strict=True):
        if not _fits(value.type, takes):
            needs = {"number": "numbers", "bool": "conditions", "any": "numbers or conditions"}
            help = "`where(c, 1, 0)` turns a condition into a number" if takes == "number" else None
            if value.type.dtype != "bool":
                help = of_examples(value)
            return ctx.mistyped(span, f"`{shown}` takes {needs[takes]}; this is {value.type}", help)
    if (wrong := differently_arranged(ctx, values, spans)) is not None:
        return wrong
    if (wrong := outputs_and_fields(ctx, values, spans)) is not None:
        return wrong
    if not shapes.agree(ctx, values, spans, f"`{shown}` takes"):
        return MISTAKE
    values = beside_vectors(ctx, values)
    if op == "where" and (values[1].type.dtype == "bool") != (values[2].type.dtype == "bool"):
        message = f"one side is {values[1].type}, the other is {values[2].type}"
        return ctx.mistyped(spans[2], message, others=[Label(spans[1], str(values[1].type))])
    result = ctx.apply(op, *values, name=name)
    if result.constant is None and _is_hopeless(op, values):
        spanned = spans[0].to(spans[-1])
        ctx.report.add(
            NO_VALUE.at(spanned, "this has no finite value", label="arithmetic on literals")
        )
        return MISTAKE
    return result


def beside_vectors(ctx: Context, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The operands of an op on vectors, with numbers of a tensor or matrix in their rank."""
    if not any(v.type.is_vector for v in values):
        return values
    return tuple(
        ctx.node("onto_vector", (v,), v.type)
        if v.type.is_field and v.type.per in ONE_FOR_ALL
        else v
        for v in values
    )


def differently_arranged(
    ctx: Context, values: Sequence[Value], spans: Sequence[Span]
) -> Value | None:
    """The mistake that one field is in the arrangement of a group's `view` and another is not."""
    fields = [(v, span) for v, span in zip(values, spans, strict=True) if v.type.is_field]
    for value, span in fields:
        own, wanted = ctx.view_of(value.type.domain), ctx.view_of(ctx.domain)
        if own != wanted:
            shown = f"in the arrangement `{own.pattern}`" if own else "not in the group's view"
            return ctx.mistyped(span, f"this field is {shown}")
    return None


def outputs_and_fields(
    ctx: Context, values: Sequence[Value], spans: Sequence[Span]
) -> Value | None:
    """The mistake that some values are shaped like the weights, and others like model outputs."""
    outputs = [s for v, s in zip(values, spans, strict=True) if v.type.kind == "outputs"]
    fields = [s for v, s in zip(values, spans, strict=True) if v.type.is_field]
    if not (outputs and fields):
        return None
    message = "this is shaped like the weights, and not like the model's outputs beside it"
    return ctx.mistyped(fields[0], message, others=[Label(outputs[0], "model outputs")])


def of_examples(value: Value) -> str | None:
    """What can be done with the gradients of examples, where they are not what is wanted."""
    if value.type.kind != "examples":
        return None
    return "take a mean over them: `per_example_mean(e => ..., of = ...)`"


def _is_hopeless(op: str, values: tuple[Value, ...]) -> bool:
    """Whether an op on literals has no finite result; infinity may be compared and limited."""
    constants = [v.constant for v in values]
    if OPS[op].scalar is None or any(c is None or isinstance(c, str) for c in constants):
        return False
    return all(abs(c) != float("inf") for c in constants if not isinstance(c, str | None))


def _fits(type: Type, takes: str) -> bool:
    if not (type.is_scalar or type.has_tensors) or type.is_indices:
        return False
    return takes == "any" or (type.dtype == "bool") == (takes == "bool")
