"""Which way a step goes: along the gradient, which lowers the loss when it is subtracted, or not.

Each value goes along the gradient, against it, or does not depend on it, as far as that can be told
from signs alone; for all others nothing is said. What is positive for sure, such as a root or a
rate, turns nothing around, whatever else it depends on.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import Draft, DraftNode, Passage
from ..ops import MAKERS, OPS
from .flow import Flow
from .interval import Intervals
from .lines import shown
from .run import report_at
from .subject import Subject

ASCENT = declare(
    "ascent",
    "a step that goes up the loss",
    """
    What leaves the last stage is subtracted from the weights, so directions point along the
    gradient and rates are positive. Other libraries add the step, and have a minus in the rate or
    in the last transformation; here that minus makes the loss grow.

        tune step -lr                # up

    To maximise something, minimise its negative: turn the sign of the loss, and not that of the
    step, around.
    """,
    Severity.WARNING,
)


class Way(Enum):
    """How a value goes with the gradient."""

    STILL = 0
    ALONG = 1
    AGAINST = -1
    UNSURE = 2


STILL, ALONG, AGAINST, UNSURE = Way.STILL, Way.ALONG, Way.AGAINST, Way.UNSURE


def check_sign(subject: Subject, report: Diagnostics) -> None:
    """Warn of the stage that turns the step around, where none turns it back."""
    ways = Ways(subject.draft, subject.intervals)
    for chain in subject.chains:
        turns = [p for p in chain if _turns(subject, p, ways)]
        if len(turns) % 2:
            _warn(subject, turns[0], report)


def _turns(subject: Subject, passage: Passage, ways: "Ways") -> bool:
    before, after = ways[passage.before], ways[subject.made(passage)]
    return {before, after} == {ALONG, AGAINST}


def _warn(subject: Subject, passage: Passage, report: Diagnostics) -> None:
    stage = subject.stage(passage)
    span = stage.syntax.rule.span
    if stage.kind == "tune":
        message = "the step size is negative: the step goes up the loss"
        help = "leave out the minus: the step is subtracted from the weights"
    else:
        message = f"`{shown(stage)}` turns the step around: it goes up the loss"
        help = "give what is to be subtracted from the weights, with the sign of the gradient"
        if stage.kind in ("constrain", "average"):
            help = "subtract the step: `w - eta * u`"
        elif stage.kind == "clip":
            help = "a limit is positive: give it the range `in (0, inf)`"
    report_at(subject, report, ASCENT, span, message, label="turns it around", help=help)


class Ways(Flow[Way]):
    """The way of every value of a step, by the id of its node."""

    unknown = UNSURE

    def __init__(self, draft: Draft, intervals: Intervals) -> None:
        super().__init__()
        self._intervals = intervals
        self.follow(draft)

    def either(self, one: Way, other: Way) -> Way:
        """The way of one of two."""
        return both(one, other)

    def index(self) -> Way:
        """The number of a round does not follow the gradient."""
        return STILL

    def value(self, node: DraftNode, inputs: Sequence[Way]) -> Way:
        """The way of a node."""
        match OPS[node.op].op_class:
            case "leaf":
                return UNSURE if node.op == "item" else STILL
            case "elementwise":
                return self._elementwise(node, inputs)
            case "local":
                return both(*inputs)
            case "shape":
                return STILL if node.op == "extent" else inputs[0]
            case "matrix":
                return _matrix(node, inputs)
            case "fill":
                return inputs[0] if node.op in ("copy", "restrict") else STILL
            case "random":
                return inputs[0] if node.op == "round_stochastic" else STILL
            case "oracle":
                return self._oracle(node, inputs)
            case "spectral":
                for region in node.regions:
                    self.region(region, [UNSURE])
                return UNSURE
            case "reduction" | "history" | "opaque" | "control":
                return STILL if all(way is STILL for way in inputs) else UNSURE

    def _oracle(self, node: DraftNode, inputs: Sequence[Way]) -> Way:
        if node.op == "per_example_mean":
            return self.region(node.regions[0], inputs)[0]
        return ALONG if node.op in ("grad", "per_example_grad") else STILL

    def _sign(self, id: int) -> int:
        """1 for what is never below 0, -1 for what is never above it, 0 for all else."""
        value = self._intervals[id]
        if value.low >= 0:
            return 1
        return -1 if value.high <= 0 else 0

    def _elementwise(self, node: DraftNode, inputs: Sequence[Way]) -> Way:
        if all(way is STILL for way in inputs) or self._intervals[node.id].point is not None:
            return STILL
        match node.op:
            case "mul":
                for place in (0, 1):
                    if (sign := self._sign(node.inputs[place])) and inputs[1 - place] is not STILL:
                        return turned(inputs[1 - place], sign)
                return UNSURE
            case "div":
                sign = self._sign(node.inputs[1])
                return turned(inputs[0], sign) if sign and inputs[0] is not STILL else UNSURE
            case "where":
                return both(*inputs[1:])
            case "clamp":
                return inputs[0] if inputs[1] is inputs[2] is STILL else UNSURE
            case _:
                rule = _RULES.get(node.op)
                return rule(*inputs) if rule else UNSURE


def both(one: Way, other: Way) -> Way:
    """The way of a sum, or of one of two."""
    if one is other or other is STILL:
        return one
    return other if one is STILL else UNSURE


def turned(way: Way, sign: int) -> Way:
    """The way of a value times something of a sign."""
    return Way(sign * way.value) if way is not UNSURE else UNSURE


_KEEPING = ("transpose", "diagonal", "diagonal_matrix", "triu", "tril", "polar")
"""Matrix ops of which each number, or the whole, follows what it is made of."""


def _matrix(node: DraftNode, inputs: Sequence[Way]) -> Way:
    if all(way is STILL for way in inputs) or node.op in MAKERS:
        return STILL
    return inputs[0] if node.op in _KEEPING and len(inputs) == 1 else UNSURE


def _same(way: Way) -> Way:
    return way


_RULES: Mapping[str, Callable[..., Way]] = {
    "add": both,
    "sub": lambda x, y: both(x, turned(y, -1)),
    "neg": lambda x: turned(x, -1),
    "min": both,
    "max": both,
    **dict.fromkeys(("float", "sign", "tanh", "sinh", "arctan", "arcsin", "round", "expm1"), _same),
}
