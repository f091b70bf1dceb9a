"""What `per` says: for which part of each tensor there is one number."""

from ...grammar import syntax
from ...grammar.diagnostic import declare
from ..records import Term
from ..types import PERS, Per
from .context import Context

NO_AXIS = declare(
    "no-axis",
    "an axis that some tensors may not have",
    """
    `per = 0`, `per = 1`, ... give one number for each place of an axis. The tensors must be sure to
    have it: by a `when` around the line, or by the group's `view`.

        when g is [rows, cols] {
          return g / sqrt(min(max(g^2, per = 0), max(g^2, per = 1)))
        } else {
          return sign(g)
        }
    """,
)


def part(ctx: Context, expr: syntax.Expr, function: str) -> Per | None:
    """What `per` means for a function; None where a mistake was reported."""
    match expr:
        case syntax.Name(id="tensor" | "unit" | "row" | "column" | "matrix" as per):
            return per
        case syntax.Name():
            ctx.unknown(expr, PERS, "is not a part of a tensor")
        case syntax.Number(value=int(axis)):
            number = Term(op="literal", arguments=(axis,))
            if ctx.sure(Term(op="gt", arguments=(Term(op="ndim"), number))):
                return axis
            message = f"`{function}` per axis {axis}, where a tensor may have {_axes(axis)}"
            help = f"do it in a `when` for enough axes: `when ndim > {axis} {{ ... }}`"
            ctx.report.add(NO_AXIS.at(expr.span, message, label="no such axis", help=help))
        case _:
            message = "`per` takes one of tensor, unit, row, column, matrix, or an axis: 0, 1, ..."
            ctx.mistyped(expr.span, message)
    return None


def _axes(count: int) -> str:
    return "no axes" if count == 0 else "one axis" if count == 1 else f"{count} axes"
