"""Functions of the language: of each element, reductions, fields of their own, oracles."""

from collections.abc import Sequence

from ...grammar import syntax
from ...grammar.source import Span
from ..ops import FISHER, OPS
from ..types import ONE_FOR_ALL, OUTPUTS, SCALAR, Per, Type, shape
from . import expressions, shapes
from .arguments import match
from .builder import MISTAKE, Value
from .by_tensor import chooses_tensors, where_tensors
from .context import Context, Scope, Site
from .examples import mean_of, per_example_mean
from .histories import HISTORIES, of_history
from .knots import interpolate
from .layers import fisher_factor
from .matrices import MATRICES, filled, of_matrices
from .measured import measured
from .operators import feature_alignment, lanczos, matrix_function, quadrature, trace
from .oracles import (
    PRODUCTS,
    RANDOM_OF,
    RESULTS,
    ask,
    refuse_in_condition,
)
from .parts import part
from .regions import refuse_in_turn, refuse_to_keep

_OPERATORS_ONLY = {
    "add", "sub", "mul", "div", "mod", "pow", "neg", "float",
    "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not",
}  # fmt: skip
ELEMENTWISE = {
    name for name, op in OPS.items() if op.op_class == "elementwise" and name not in _OPERATORS_ONLY
}
"""Functions of the language that act on each element."""

REDUCTIONS = ("sum", "mean", "norm", "dot", "all", "any")
"""Functions of the language that reduce a field; `max` and `min` of one argument join them."""

_VERDICTS = ("all", "any")
_ENDS = {"largest": "highest", "smallest": "lowest"}
"""What `max` and `min` mean of a spectrum."""

SPECTRAL = {
    "lanczos": lanczos,
    "quadrature": quadrature,
    "matrix_function": matrix_function,
    "hutchinson": trace,
    "xtrace": trace,
    "feature_alignment": feature_alignment,
}
RANDOM = ("normal", "rademacher", "uniform")
FILLS = ("zeros", "ones")
FUNCTIONS = {
    *ELEMENTWISE, *REDUCTIONS, *RANDOM, *FILLS, *RESULTS, *HISTORIES, *SPECTRAL, *MATRICES,
    "per_example_mean", "measured", *FISHER,
}  # fmt: skip
"""Every function of the language."""


def language_function(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """The value of a call of one of `FUNCTIONS`."""
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    if function in ELEMENTWISE and not _is_reduction(expr):
        return _elementwise(ctx, site, scope, expr, name)
    if function in REDUCTIONS or function in ("min", "max"):
        return _reduction(ctx, site, scope, expr, name)
    if function in RANDOM or function in FILLS:
        return _fill(ctx, site, scope, expr, name)
    if function in MATRICES:
        return of_matrices(ctx, site, scope, expr, name)
    if function in HISTORIES:
        return of_history(ctx, site, scope, expr, name)
    if function == "per_example_mean":
        return per_example_mean(ctx, site, scope, expr, name)
    if function in FISHER:
        return fisher_factor(ctx, site, scope, expr, name)
    if function == "measured":
        return measured(ctx, site, scope, expr, name)
    if function in SPECTRAL:
        return SPECTRAL[function](ctx, site, scope, expr, name)
    return _oracle(ctx, site, scope, expr, name)


def _is_reduction(expr: syntax.Call) -> bool:
    """`max(x)` reduces, `max(x, y)` compares."""
    assert isinstance(expr.function, syntax.Name)
    placed = sum(a.name is None for a in expr.arguments)
    return expr.function.id in ("min", "max") and placed < 2


def _placed(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, names: Sequence[str]
) -> dict[str, tuple[Value, syntax.Expr]] | None:
    assert isinstance(expr.function, syntax.Name)
    matched = match(ctx, expr, names, names, expr.function.id)
    if matched is None:
        return None
    return {
        key: (expressions.expression(ctx, site, scope, a.value), a.value)
        for key, a in matched.items()
    }


_NAMES = {
    "where": ("condition", "yes", "no"),
    "clamp": ("x", "low", "high"),
    "arctan2": ("y", "x"),
}


def _elementwise(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    assert isinstance(expr.function, syntax.Name)
    op = expr.function.id
    if op == "interpolate":
        return interpolate(ctx, site, scope, expr, name)
    if op in ("min", "max"):
        return _extremum(ctx, site, scope, expr, name)
    if op == "where" and chooses_tensors(scope, expr):
        return where_tensors(ctx, site, scope, expr, name)
    placed = _placed(ctx, site, scope, expr, _NAMES.get(op, ("x",)))
    if placed is None:
        return MISTAKE
    ordered = [placed[key] for key in _NAMES.get(op, ("x",))]
    values, spans = tuple(v for v, _ in ordered), tuple(e.span for _, e in ordered)
    return expressions.elementwise(ctx, op, values, spans, op, name)


def _extremum(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    assert isinstance(expr.function, syntax.Name)
    op, names = expr.function.id, tuple(f"x{i}" for i in range(len(expr.arguments)))
    placed = _placed(ctx, site, scope, expr, names)
    if placed is None:
        return MISTAKE
    (result, first), *rest = (placed[key] for key in names)
    for place, (value, piece) in enumerate(rest):
        own = name if place == len(rest) - 1 else None
        spans = (first.span, piece.span)
        result = expressions.elementwise(ctx, op, (result, value), spans, op, own)
    return result


def _reduction(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    op = {"min": "smallest", "max": "largest"}.get(function, function)
    operands = ("x", "y") if op == "dot" else ("x",)
    more = () if op in _VERDICTS else ("per",)
    matched = match(ctx, expr, (*operands, *more), operands, function)
    if matched is None:
        return MISTAKE
    values = []
    for key in operands:
        value = expressions.expression(ctx, site, scope, matched[key].value)
        if value.type.kind == "spectrum" and op in _ENDS and "per" not in matched:
            return ctx.node(_ENDS[op], (value,), SCALAR, name=name)
        if value.type.kind == "examples" and op == "mean" and "per" not in matched:
            return mean_of(ctx, value, expr, name)
        needs = _not_reducible(value, op)
        if needs is not None:
            message = f"`{function}` takes {needs}; this is {value.type}"
            return ctx.mistyped(matched[key].span, message, expressions.of_examples(value))
        values.append(value)
    if any(v.type.is_unknown for v in values):
        return MISTAKE
    placed = tuple(matched[key].span for key in operands)
    if (wrong := expressions.outputs_and_fields(ctx, values, placed)) is not None:
        return wrong
    if "per" in matched and values[0].type.kind == "outputs":
        message = f"`{function}` of model outputs runs over all of them, and has no `per`"
        return ctx.mistyped(matched["per"].span, message)
    if op == "dot" or "per" in matched:
        mixed = expressions.differently_arranged(ctx, tuple(values), placed)
        if mixed is not None:
            return mixed
    if not shapes.agree(ctx, values, placed, f"`{function}` takes"):
        return MISTAKE
    dtype = OPS[op].gives
    assert dtype != "join"
    if "per" not in matched:
        if values[0].type.is_field and refuse_in_turn(
            ctx, expr, f"`{function}` runs over all tensors"
        ):
            return MISTAKE
        whole = [ctx.restricted(v) for v in values]
        return ctx.node(op, whole, Type("scalar", dtype), name=name)
    per = part(ctx, matched["per"].value, function)
    if per is None:
        return MISTAKE
    if any(v.type.is_vector for v in values):
        return _of_vectors(ctx, op, values, per, matched["per"].value.span, name)
    dims = None if per in ONE_FOR_ALL else shape(v.type for v in values)
    type = Type("field", dtype, per, ctx.domain, dims=dims)
    return ctx.node(op, values, type, name=name, attributes={"per": per})


def _of_vectors(
    ctx: Context, op: str, values: Sequence[Value], per: Per, span: Span, name: str | None
) -> Value:
    """A reduction of vectors: one number for each tensor, or for each vector as for a matrix."""
    if per not in ONE_FOR_ALL:
        message = f"a vector has no parts per {per}: it is reduced per tensor, or per matrix"
        return ctx.mistyped(span, message)
    # Along the last axis, which the vector has where a matrix has its last two.
    along = {"per": "row" if per == "matrix" else per}
    type = Type("field", per=per, domain=ctx.domain)
    flat = ctx.node(op, values, type, attributes=along)
    return ctx.node("onto_matrix", (flat,), type, name=name)


def _not_reducible(value: Value, op: str) -> str | None:
    if value.type.is_unknown:
        return None
    wanted = "bool" if op in _VERDICTS else "float"
    if value.type.is_indices:
        return "numbers"
    if value.type.has_tensors and (value.type.dtype == "bool") == (wanted == "bool"):
        return None
    return "a field of conditions" if wanted == "bool" else "a field"


def _fill(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    shown = f"like_{name or function}" if function in RANDOM else name
    if (made := filled(ctx, site, scope, expr, shown)) is not None:
        drawn = function in RANDOM and not made.type.is_unknown
        return _drawn(ctx, expr, function, made, made.type, name) if drawn else made
    if function in RANDOM and not expr.arguments:
        # What it is given is not looked at: every draw has the weights before its rounds.
        like = ctx.input("input", "w", Type("field"), "w")
        return _drawn(ctx, expr, function, like, SCALAR, name)
    placed = _placed(ctx, site, scope, expr, ("like",))
    if placed is None:
        return MISTAKE
    like, piece = placed["like"]
    if like.type.is_unknown:
        return MISTAKE
    if like.type.kind == "outputs" and function in FILLS:
        return ctx.node(function, (like,), OUTPUTS, name=name)
    if not like.type.is_field:
        return ctx.mistyped(piece.span, f"`{function}` takes a field; this is {like.type}")
    type = Type("field", "float", like.type.per, ctx.domain, dims=like.type.dims)
    if function in FILLS:
        if type.is_like_weights:
            # Only the shape matters, and it is the weights': nothing else need be computed.
            like = ctx.weights
        return ctx.node(function, (like,), type, name=name)
    if like.id != ctx.weights.id:
        message = f"`{function}` draws a field like the weights: write `{function}(w)`"
        ctx.report.add(RANDOM_OF.at(piece.span, message))
        return MISTAKE
    return _drawn(ctx, expr, function, like, ctx.weights.type, name)


def _drawn(
    ctx: Context, expr: syntax.Call, function: str, like: Value, type: Type, name: str | None
) -> Value:
    if refuse_to_keep(ctx, expr, f"`{function}` is drawn"):
        return MISTAKE
    if refuse_in_condition(ctx, expr, f"`{function}`"):
        return MISTAKE
    return ctx.random(function, (like,), type, name)


def _oracle(ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None) -> Value:
    assert isinstance(expr.function, syntax.Name)
    oracle = expr.function.id
    acts = oracle in PRODUCTS
    names: tuple[str, ...] = ("vector", "at") if acts else ("at",)
    names = () if oracle == "examples" else names
    matched = match(ctx, expr, names, names[:1], oracle)
    if matched is None:
        return MISTAKE
    values = {
        key: expressions.expression(ctx, site, scope, a.value, "point" if key == "at" else None)
        for key, a in matched.items()
    }
    at, vector = values.get("at", ctx.weights), values.get("vector")
    for key, value in values.items():
        wanted = "outputs" if (oracle, key) == ("pullback", "vector") else "field"
        fits = value.type.kind == wanted and value.type.dims is None
        if not value.type.is_unknown and not fits:
            needs = "model outputs" if wanted == "outputs" else "a field"
            shown = shapes.described(ctx, value.type)
            message = f"`{oracle}` takes {needs} here; this is {shown}"
            return ctx.mistyped(matched[key].span, message)
    return ask(ctx, oracle, at, vector, expr, name)
