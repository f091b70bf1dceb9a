"""Questions to the objective: each distinct point is linearised once and shared."""

from ...grammar import syntax
from ...grammar.diagnostic import declare
from ..records import Scalar
from ..types import EXAMPLES, FIELD, OUTPUTS, POINT, SCALAR, Type
from .builder import MISTAKE, Value
from .context import Context
from .regions import refuse_to_ask, refuse_to_keep

ORACLE_OF_SOME = declare(
    "oracle-of-some-tensors",
    "an oracle is asked in a stage that sees only some tensors",
    """
    Oracles evaluate the whole model, so they belong to stages that see all tensors: outside
    groups, and without `where`. Ask in a stage before the groups and keep the answer in a state or
    a named value, or let the rule act on all tensors. What `fisher_rows` and `fisher_columns` ask
    is of each layer alone, so they may stand there too, but not in a `view`.
    """,
)
ORACLE_AFTER_ACCUMULATE = declare(
    "oracle-after-accumulate",
    "an oracle is asked below `accumulate`",
    """
    Stages below `accumulate` run once for several micro-batches, with the mean of their
    gradients; an oracle there would see the last micro-batch only. Stages above `accumulate` run
    for each micro-batch and may ask: put `perturb` there. A probe in `observe` may ask anywhere;
    it reports on the last micro-batch.
    """,
)

RANDOM_OF = declare(
    "random-of",
    "a random field is asked for something that is not the weights, or where none can be drawn",
    """
    `normal(w)`, `rademacher(w)` and `uniform(w)` draw a field with the shapes of the weights. To
    scale or shift it, use arithmetic. `normal()`, `rademacher()` and `uniform()` draw one number.
    Each round of a loop draws another one, and other labels for `sampled_outputs_grad`; the
    condition of `repeat ... while` is not part of a round, so it draws none.
    """,
)

RESULTS: dict[str, Type] = {
    "loss": SCALAR,
    "grad": FIELD,
    "outputs": OUTPUTS,
    "outputs_grad": OUTPUTS,
    "sampled_outputs_grad": OUTPUTS,
    "pullback": FIELD,
    "hvp": FIELD,
    "ggn": FIELD,
    "examples": SCALAR,
    "per_example_grad": EXAMPLES,
}
"""What each oracle gives."""

PRODUCTS = ("pullback", "hvp", "ggn")
"""Oracles that act on a vector, and are linear in it."""

_PREPARED = ("hvp", "ggn")
"""Oracles that a point is prepared for, which costs something before they are asked."""


_REPEATED = ("loop", "operator")
"""Blocks that run more than once: what does not change in them is done outside."""


def ask(
    ctx: Context, oracle: str, at: Value, vector: Value | None, call: syntax.Node, name: str | None
) -> Value:
    """The answer of an oracle at a point; `vector` is what products act on."""
    if vector and vector.type.is_unknown:
        return MISTAKE
    point = point_of(ctx, oracle, at, call)
    if oracle == "sampled_outputs_grad":
        if point.type.is_unknown or refuse_to_keep(ctx, call, f"`{oracle}` draws"):
            return MISTAKE
        if refuse_in_condition(ctx, call, f"labels of `{oracle}`"):
            return MISTAKE
        return ctx.random(oracle, (point,), OUTPUTS, name)
    inputs = (point, vector) if vector else (point,)
    return ctx.node(oracle, inputs, RESULTS[oracle], name=name)


def refuse_in_condition(ctx: Context, at: syntax.Node, what: str) -> bool:
    """Whether this stands in the condition of a loop, where nothing is drawn; it is reported."""
    if not any(block.kind == "loop" and block.index is None for block in ctx.frame.blocks):
        return False
    message = f"{what} cannot be drawn in the condition of a loop"
    ctx.report.add(RANDOM_OF.at(at.span, message, help="draw it in the body"))
    return True


def point_of(
    ctx: Context, oracle: str, at: Value, call: syntax.Node, *, of_some: bool = False
) -> Value:
    """The linearisation that an oracle asks, where it may ask.

    `of_some` is for one that may ask in a stage that sees only some tensors.
    """
    if at.type.is_unknown or refuse_to_ask(ctx, call, f"`{oracle}` is asked"):
        return MISTAKE
    if ctx.domain != 0 and not of_some:
        message = f"`{oracle}` asks the whole model, and this stage sees only some tensors"
        ctx.blame(ORACLE_OF_SOME, call.span, message, "asked here")
        return MISTAKE
    if _refuse_accumulated(ctx, oracle, call):
        return MISTAKE
    return _point(ctx, at, private=oracle in _PREPARED)


def weights_point(ctx: Context, oracle: str, call: syntax.Node) -> Value:
    """The linearisation at the weights, for what may also be asked for some tensors only."""
    if refuse_to_ask(ctx, call, f"`{oracle}` is asked") or _refuse_accumulated(ctx, oracle, call):
        return MISTAKE
    return _point(ctx, ctx.input("input", "w", FIELD, "w"), private=False)


def _refuse_accumulated(ctx: Context, oracle: str, call: syntax.Node) -> bool:
    if not ctx.accumulated:
        return False
    message = f"`{oracle}` below `accumulate` would see the last micro-batch only"
    ctx.blame(ORACLE_AFTER_ACCUMULATE, call.span, message, "asked here")
    return True


def _point(ctx: Context, at: Value, private: bool) -> Value:
    """The linearisation at `at`, in the outermost block that may share it.

    It leaves loops that do not change it. Inside an `if` it may reuse one that was made
    outside, except for products with a matrix, whose preparation would then be paid on every step.
    """
    blocks = ctx.frame.blocks
    home = len(blocks) - 1
    while home > 0 and blocks[home].kind in _REPEATED and at.id not in blocks[home].defined:
        home -= 1
    for depth in range(home, -1, -1):
        if at.id in blocks[depth].points:
            return blocks[depth].points[at.id]
        if private and blocks[depth].kind == "branch":
            break
        if at.id in blocks[depth].defined:
            break
    ctx.frame.blocks, inner = blocks[: home + 1], blocks
    conditional = any(block.kind == "branch" for block in blocks[: home + 1])
    marks: dict[str, Scalar] = {"private": True} if private and conditional else {}
    point = ctx.node("point", (at,), POINT, attributes=marks)
    ctx.frame.blocks = inner
    blocks[home].points[at.id] = point
    return point
