"""The weights to evaluate with, as a function of what the program keeps between steps."""

from ...grammar.diagnostic import declare
from ..ops import OPS
from .builder import Frame, Value
from .context import Context
from .draft import DraftNode, DraftRegion

BAD_EVALUATE = declare(
    "bad-evaluate",
    "weights to evaluate with that cannot be known after the step",
    """
    `evaluate e` is worked out after a step, from what is kept: the states as the step leaves
    them, the new weights, the parameters and `t`. Gradients and directions are gone by then; keep
    what you need of them in a state.
    """,
)


def evaluation_region(ctx: Context, weights_next: Value) -> DraftRegion | None:
    """The region that computes `ctx.evaluation` from stored values, or None with a report."""
    assert ctx.evaluation is not None
    value, span = ctx.evaluation
    kept = {ctx.cells[key].id: cell for key, cell in ctx.cell_info.items() if cell.slot >= 0}
    frame = Frame()
    made: dict[int, Value] = {}

    def copy(id: int) -> Value | None:
        if id not in made:
            if (value := _copy(id)) is None:
                return None
            made[id] = value
        return made[id]

    def _copy(id: int) -> Value | None:
        if id == weights_next.id:
            return ctx.weights
        if id in kept:
            return ctx.read(kept[id].slot, kept[id])
        node: DraftNode | None = ctx.made.get(id)
        if node is None:
            return None
        if node.op == "parameter":
            return ctx.hyperparameter(str(node["name"]))
        if node.op == "input" and node["name"] == "t":
            return ctx.count
        if node.op not in ("const", "merge", "restrict", "zeros", "ones") and (
            OPS[node.op].op_class not in ("elementwise", "reduction", "shape")
        ):
            return None
        inputs = [copy(i) for i in node.inputs]
        if any(i is None for i in inputs):
            return None
        return _again(ctx, node, [i for i in inputs if i is not None])

    with ctx.in_frame(frame):
        result = copy(value.id)
    if result is None:
        message = "the weights to evaluate with depend on values that are gone after the step"
        ctx.report.add(BAD_EVALUATE.at(span, message, help="keep them in a state"))
        return None
    return frame.region([result])


def _again(ctx: Context, node: DraftNode, inputs: list[Value]) -> Value:
    """The same operation on other inputs, in the current frame."""
    attributes = dict(node.attributes)
    return ctx.node(node.op, inputs, node.type, name=node.name, attributes=attributes)
