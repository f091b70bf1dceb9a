"""What is asked of single layers: the factors of their blocks of the Fisher matrix."""

from ...grammar import syntax
from ..records import Term
from ..types import Type, matrix_of
from .arguments import match
from .builder import MISTAKE, Value
from .context import Context, Scope, Site
from .oracles import ORACLE_OF_SOME, point_of, refuse_in_condition
from .regions import refuse_to_keep
from .shapes import NO_MATRIX

_SIDES = {"fisher_rows": -2, "fisher_columns": -1}
"""Which axis of a weight each factor meets."""

_MATRIX = Term(op="eq", arguments=(Term(op="ndim"), Term(op="literal", arguments=(2,))))


def fisher_factor(
    ctx: Context, site: Site, scope: Scope, expr: syntax.Call, name: str | None
) -> Value:
    """`fisher_rows()` and `fisher_columns()`: a square matrix for each layer's weight."""
    assert isinstance(expr.function, syntax.Name)
    function = expr.function.id
    if match(ctx, expr, (), (), function) is None:
        return MISTAKE
    if refuse_to_keep(ctx, expr, f"`{function}` draws"):
        return MISTAKE
    if refuse_in_condition(ctx, expr, f"labels of `{function}`"):
        return MISTAKE
    if not ctx.sure(_MATRIX):
        message = f"`{function}` asks for layers; these tensors may be no matrices of layers"
        help = "ask in a `when` for matrices: `when g is [rows, cols] { ... }`"
        others = ctx.asker_of(expr.span)
        ctx.report.add(
            NO_MATRIX.at(expr.span, message, label="any shape", help=help, others=others)
        )
        return MISTAKE
    if ctx.view_of(ctx.domain) is not None:
        message = f"`{function}` asks for layers as the model has them, and this group has a view"
        ctx.blame(ORACLE_OF_SOME, expr.span, message, "asked here")
        return MISTAKE
    point = point_of(ctx, function, ctx.weights, expr, of_some=True)
    if point.type.is_unknown:
        return MISTAKE
    side = _SIDES[function]
    type = Type("field", domain=ctx.domain, dims=matrix_of((side, side)))
    # Both factors of a step are of one draw, whose evaluation XLA merges.
    return ctx.random(function, (point,), type, name, shared=True)
