"""An average of the weights that starts at zero and is evaluated as it is."""

from collections.abc import Mapping

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import DraftNode
from ..records import Scalar
from .plain import values
from .run import at_defaults, passing, report_at
from .subject import Subject, walk

BIASED_AVERAGE = declare(
    "biased-average",
    "evaluation weights that are too small at first",
    """
    An average that starts at zero is smaller than what it averages: after t steps a moving average
    with decay 0.999 holds 1 - 0.999^t of the weights, which is a thousandth after the first step
    and less than two thirds after a thousand. A model that is evaluated with it looks broken, or
    merely worse than it is.

        state ema = zeros(w)
        ema <- decay * ema + (1 - decay) * w_next
        evaluate ema

    Divide by what is there, `evaluate ema / (1 - decay^t)`, as `average ema` of the library does,
    or let the average start at the weights, `state ema = w`, as `average ema_from_start`.
    """,
    Severity.WARNING,
)

_NEAR = 1e-3


def check_average(subject: Subject, report: Diagnostics) -> None:
    """Weights that do not move should be evaluated as what they are, after one step already."""
    draft = subject.draft
    passed = [p for p in draft.passages if subject.stages[p.stage].kind == "average"]
    if draft.evaluation is None or len(passed) != 1:
        return
    stage = subject.stages[passed[0].stage]
    evaluation = {node.id: node for node in walk(draft.evaluation)}
    read = {_slot(node) for node in evaluation.values() if node.op == "state"}
    starts = {slot: _start(subject, slot) for slot in sorted(read)}
    if not any(start == 0 and draft.slots[slot].type.is_field for slot, start in starts.items()):
        return
    kept = _after_one_step(subject, starts, passed[0].before)
    count = at_defaults(subject, t=1)

    def known(node: DraftNode) -> Scalar | None:
        if node.op == "state":
            return kept.get(_slot(node))
        return 1.0 if _is_weights(node) else count(node)

    (result,) = draft.evaluation.results
    share = values(evaluation, (result,), known).get(result)
    if share is None or isinstance(share, str) or not share < 1 - _NEAR:
        return
    message = f"after the first step the weights to evaluate with are {share:.3g} of the weights"
    report_at(
        subject,
        report,
        BIASED_AVERAGE,
        stage.syntax.rule.span,
        message,
        label="an average that starts at zero",
        help="divide it by the sum of its weights, `1 - decay^t`, or start it at `w`",
    )


def _start(subject: Subject, slot: int) -> Scalar | None:
    """What a state holds at first, where all weights are 1."""
    start = subject.draft.start
    nodes = {node.id: node for node in walk(start)}
    known = at_defaults(subject)
    result = start.results[slot]
    found = values(nodes, (result,), lambda n: 1.0 if _is_weights(n) else known(n))
    return found.get(result)


def _after_one_step(
    subject: Subject, starts: Mapping[int, Scalar | None], weights: int
) -> dict[int, Scalar]:
    """What states hold after a step that leaves all weights at 1."""
    results = zip(subject.draft.outputs, subject.draft.step.results, strict=True)
    roots = {o.index: passing(subject, id) for o, id in results if o.index in starts}
    count = at_defaults(subject, t=1)

    def known(node: DraftNode) -> Scalar | None:
        if node.op == "state":
            return starts.get(_slot(node))
        return 1.0 if _is_weights(node) else count(node)

    found = values(subject.nodes, roots.values(), known, {weights: 1.0})
    return {slot: found[id] for slot, id in roots.items() if id in found}


def _slot(node: DraftNode) -> int:
    number = node["name"]
    assert isinstance(number, int)
    return number


def _is_weights(node: DraftNode) -> bool:
    return node.op == "input" and node["name"] == "w"
