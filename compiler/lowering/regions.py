"""Functions that become regions: operators, functions of one example's gradient, of an eigenvalue.

An op calls them as often as its algorithm needs. So nothing in them is kept or drawn, and where
they are mapped over many values at once nothing is asked. Nor may staggered work keep, draw or ask.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...grammar import syntax
from ...grammar.diagnostic import Rule, declare
from ..types import Type
from . import closures, expressions
from .builder import MISTAKE, BlockKind, Value
from .context import Binding, Context, Scope, Site
from .draft import DraftRegion

PER_EXAMPLE = declare(
    "bad-per-example",
    "a function of one example's gradient that is none",
    """
    `per_example_mean(e => ...)` applies a function to the gradient of each example and takes the
    mean over the batch. The function is a field or a number, made of `e` and of what is known
    outside; it asks no oracle, draws nothing and keeps no state, since it runs once for each
    example.

        per_example_mean(e => min(1, limit / norm(e)) * e)

    The gradients of all examples are a value too, `each = per_example_grad(w)`, of which means are
    taken: `mean(each)`, or `per_example_mean(e => norm(e)^2, of = each)`.
    """,
)
BAD_OPERATOR = declare(
    "bad-operator",
    "an operator on fields that is none",
    """
    `lanczos`, `matrix_function`, `hutchinson` and `xtrace` take an operator: a function that makes
    a field of a field, and is linear and symmetric. It may ask oracles; it draws nothing and keeps
    nothing, since it runs as often as the algorithm needs.

        max(lanczos(d => hvp(d) + decay * d, normal(w), 20))
    """,
)
BAD_QUADRATURE = declare(
    "bad-quadrature",
    "a function of an eigenvalue that is none",
    """
    `quadrature(x => ..., of = s)` is the sum over a spectrum of each node's weight times a function
    of the node, and `matrix_function(x => ..., operator, start, steps)` that function of an
    operator, times a field. The function is a number, made of `x` and of what is known outside; it
    asks no oracle, draws nothing and keeps no state.

        count * quadrature(x => x / (2 - eta * x), of = lanczos(ggn, normal(w), 20))
    """,
)


STAGGERED = declare(
    "bad-staggered",
    "staggered work that is not on each tensor alone",
    """
    `every n staggered { ... }` spreads its work over the steps: each tensor has its turn at one of
    every `n`, so that no step is a spike. So the work is on each tensor alone: it reduces with
    `per`, asks no oracle, draws and keeps nothing new, and changes fields only. The period is an
    integer that is known before the program runs, at least 1.

        every 10 staggered {
          scale <- norm(g, per = tensor)
        }

    Before its turn a tensor keeps what its states start with.
    """,
)


@dataclass(frozen=True)
class Place:
    """Where not everything may be done: a block, what it is called, and where mistakes belong."""

    block: BlockKind
    words: str
    rule: Rule


TURN = Place("turn", "work that is staggered", STAGGERED)


@dataclass(frozen=True)
class Kind(Place):
    """A sort of function that becomes a region."""

    parameter: str
    """What its argument is called where the spec gives it no name."""
    help: str


EXAMPLE = Kind(
    "example", "a function of one example's gradient", PER_EXAMPLE, "e", "write `e => ...`"
)
EIGENVALUE = Kind(
    "eigenvalue", "a function of an eigenvalue", BAD_QUADRATURE, "x", "write `x => ...`"
)
OPERATOR = Kind(
    "operator",
    "an operator",
    BAD_OPERATOR,
    "d",
    "write `d => ...`, or the name of an oracle that acts on a field: `hvp`",
)


def region(
    ctx: Context,
    site: Site,
    scope: Scope,
    kind: Kind,
    function: syntax.Expr,
    type: Type,
    finish: Callable[[Value], Value],
) -> tuple[Value, DraftRegion] | None:
    """What a function makes of an argument of `type`, and its region.

    None where a mistake was reported, or where a function is checked alone and has a parameter
    there, of which nothing is known. `finish` is applied to the value inside the region.
    """
    known = function.parameter.id if isinstance(function, syntax.Lambda) else kind.parameter
    called = closures.closure(ctx, site, scope, function)
    if called is None:
        value = expressions.expression(ctx, site, scope, function)
        if not value.type.is_unknown:
            message = f"{kind.words} is needed here; this is {value.type}"
            ctx.report.add(kind.rule.at(function.span, message, help=kind.help))
        return None
    node, argument = ctx.argument(type, known)
    # A name that the language cannot write, so it stands for nothing else.
    handed = syntax.Name(function.span, "0")
    inner = Scope()
    inner.names[handed.id] = Binding("let", None, argument)
    shown = function
    if not isinstance(shown, syntax.Name | syntax.Attribute):
        shown = syntax.Name(function.span, "function")
    call = syntax.Call(function.span, shown, (syntax.Argument(function.span, None, handed),))
    with ctx.open_block(kind.block, [argument]) as block:
        value = finish(closures.apply(ctx, site, inner, call, called, None))
    if value.type.is_unknown:
        return None
    return value, DraftRegion((node, *block.nodes), (value.id,), (node.id,))


def refuse_result(ctx: Context, kind: Kind, function: syntax.Expr, message: str) -> Value:
    """Report that a function makes something that it should not."""
    body = function.body if isinstance(function, syntax.Lambda) else function
    others = ctx.asker_of(body.span)
    ctx.report.add(kind.rule.at(body.span, message, others=others))
    return MISTAKE


def refuse_to_ask(ctx: Context, at: syntax.Node, what: str) -> bool:
    """Whether this stands in a function that asks nothing, which is then reported."""
    return _refuse(ctx, at, what, (EXAMPLE, EIGENVALUE, TURN))


def refuse_to_keep(ctx: Context, at: syntax.Node, what: str) -> bool:
    """Whether this stands in a function that keeps and draws nothing; it is reported."""
    return _refuse(ctx, at, what, (EXAMPLE, EIGENVALUE, OPERATOR, TURN))


def refuse_in_turn(ctx: Context, at: syntax.Node, what: str) -> bool:
    """Whether this stands in staggered work, which is on each tensor alone; it is reported."""
    return _refuse(ctx, at, what, (TURN,))


def _refuse(ctx: Context, at: syntax.Node, what: str, kinds: tuple[Place, ...]) -> bool:
    around = [block.kind for block in ctx.frame.blocks]
    kind = next((kind for kind in kinds if kind.block in around), None)
    if kind is None:
        return False
    help = "do so outside, and give the value a name"
    others = ctx.asker_of(at.span)
    ctx.report.add(kind.rule.at(at.span, f"{what} in {kind.words}", help=help, others=others))
    return True
