"""`every n staggered`: work on each tensor alone, spread over the steps."""

from collections.abc import Callable

from ...grammar import syntax
from ...grammar.diagnostic import Label
from ..parameters import Bounds
from . import expressions
from .arguments import NOT_STATIC
from .builder import MISTAKE, Block, Cell, Value
from .context import Binding, Context, Scope, Site
from .regions import STAGGERED, refuse_in_turn

_PERIOD = "the period of `every ... staggered`"


def stagger(
    ctx: Context, site: Site, scope: Scope, every: syntax.Every, body: Callable[[], None]
) -> None:
    """Lower the work of `every n staggered`, which `body` builds."""
    period = _period(ctx, site, scope, every.period)
    inside = refuse_in_turn(ctx, every, "`every ... staggered` stands")
    if not (inside or period.type.is_unknown):
        ctx.stagger(period, ctx.count, body)


def _period(ctx: Context, site: Site, scope: Scope, expr: syntax.Expr) -> Value:
    period = expressions.number(ctx, site, scope, expr)
    if period.type.is_unknown:
        return MISTAKE
    if not (period.type.static and period.type.dtype == "int"):
        message = f"{_PERIOD} is an integer that is known before the program runs"
        help = "declare the parameter `int`"
        ctx.report.add(NOT_STATIC.at(expr.span, message, help=help))
        return MISTAKE
    known = period.constant if period.constant is not None else ctx.default_of(period)
    if known is not None and not isinstance(known, str) and known < 1:
        message = f"{_PERIOD} is {known}; it must be at least 1"
        ctx.blame(STAGGERED, expr.span, message, "the period")
        return MISTAKE
    ctx.tighten(period, Bounds(low=1))
    return period


def refuse_for_all(ctx: Context, update: syntax.Update, binding: Binding, info: Cell) -> bool:
    """Whether staggered work changes a number that is one for all tensors; it is reported."""
    turn: Block | None = next((b for b in ctx.frame.blocks if b.kind == "turn"), None)
    if turn is None or info.type.is_field or binding.cell >= turn.outer:
        return False
    message = f"`{update.name.id}` is {info.type} for all tensors, which have turns of their own"
    others = (Label(binding.span, "declared here"),) if binding.span else ()
    help = "let it be a field, or change it outside"
    ctx.report.add(STAGGERED.at(update.name.span, message, help=help, others=others))
    return True
