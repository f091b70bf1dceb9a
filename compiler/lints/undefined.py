"""Steps that are no number: a division by 0, or a root of what is negative.

Only what must happen is reported, and only where it reaches the weights: a quotient that `min`,
`where` or another quotient takes care of does not.
"""

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import DraftNode
from .interval import ONE, ZERO, Intervals
from .lines import shown
from .run import report_at
from .subject import Subject

UNDEFINED_STEP = declare(
    "undefined-step",
    "a step that is not a finite number",
    """
    For the values that the spec gives, a division by 0, a root of a negative number or a logarithm
    of one that is not positive reaches the weights: after it they are NaN or infinite.

        mu / (1 - b1^(t - 1))      # 1 - b1^0 = 0 in the first step: write `b1^t`

    `t` is 1 in the first step.
    """,
    Severity.WARNING,
)
ZERO_GRADIENT = declare(
    "zero-gradient",
    "a step that is NaN where the gradient is zero",
    """
    A gradient of zero is common: weights that are not used yet, a dead unit, a batch without loss.
    Divided by its own norm, or by the root of its square, it is 0 / 0, and the weights are NaN from
    then on.

        return g / norm(g)               # NaN at a zero gradient
        return g / max(norm(g), 1e-16)   # 0 there
    """,
    Severity.WARNING,
)


def check_undefined(subject: Subject, report: Diagnostics) -> None:
    """Warn of steps that cannot be numbers: in all steps, in the first, at a zero gradient."""
    draft = subject.draft
    cases = (
        (subject.intervals, UNDEFINED_STEP, "in each step"),
        (Intervals(draft, count=ONE), UNDEFINED_STEP, "in the first step"),
        (Intervals(draft, count=ONE, gradient=ZERO), ZERO_GRADIENT, "where the gradient is zero"),
    )
    for intervals, rule, when in cases:
        found = _Undefined(subject, intervals)
        for end in subject.ends:
            node = found.origin(end)
            stage = subject.stages.get(node.stage) if node is not None else None
            if node is not None and stage is not None:
                what = _WHAT[node.op]
                message = f"`{shown(stage)}` {what} {when}: the weights become NaN or infinite"
                help = ("`t` is 1 there: " if "first" in when else "") + _help(node.op)
                report_at(
                    subject, report, rule, stage.syntax.rule.span, message, label=what, help=help
                )
                return


_WHAT = {
    "div": "divides by 0",
    "sqrt": "takes the root of a negative number",
    "pow": "takes the root of a negative number",
    "log": "takes the logarithm of 0 or less",
}


def _help(op: str) -> str:
    if op == "div":
        return "keep the divisor from 0: `x / (y + eps)`, or `x / max(y, 1e-16)`"
    return "keep what it acts on positive: `max(x, 1e-16)`"


_CARRIES = (
    *("add", "sub", "mul", "neg", "sqrt", "square", "abs", "float"),
    *("copy", "restrict", "view", "unview", "blocks", "unblocks", "merge", "point", "grad"),
    *("sum", "mean", "norm", "dot"),
)
"""Ops whose result is no finite number where an input is none."""


class _Undefined:
    """Where values that are no finite numbers come from."""

    def __init__(self, subject: Subject, intervals: Intervals) -> None:
        self._nodes = subject.nodes
        self._intervals = intervals
        self._origins: dict[int, DraftNode | None] = {}
        for node in subject.nodes.values():
            self._origins[node.id] = self._find(node)

    def origin(self, id: int) -> DraftNode | None:
        """The node whose op is undefined, if a value is for sure no finite number."""
        return self._origins[id]

    def _find(self, node: DraftNode) -> DraftNode | None:
        if self._is_undefined(node):
            return node
        if node.op in _CARRIES:
            return next((found for i in node.inputs if (found := self._origins[i])), None)
        match node.op:
            case "div":
                return self._origins[node.inputs[0]]
            case "where":
                return self._chosen(*node.inputs)
            case "item" if (source := self._nodes[node.inputs[0]]).op == "if":
                yes, no = (region.results[int(node["index"])] for region in source.regions)
                return self._chosen(source.inputs[0], yes, no)
            case _:
                return None

    def _is_undefined(self, node: DraftNode) -> bool:
        inputs = [self._intervals[i] for i in node.inputs]
        match node.op:
            case "div":
                return inputs[1] == ZERO
            case "sqrt":
                return inputs[0].high < 0
            case "log":
                return inputs[0].high <= 0
            case "pow":
                exponent = inputs[1].point
                return inputs[0].high < 0 and exponent is not None and exponent % 1 != 0
            case _:
                return False

    def _chosen(self, condition: int, yes: int, no: int) -> DraftNode | None:
        """What both sides are, or the side that is taken."""
        value = self._intervals[condition].point
        if value is not None:
            return self._origins[yes if value else no]
        return self._origins[yes] if self._origins[no] else None
