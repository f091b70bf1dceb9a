"""Numbers that the dtype of a state, or of the step, cannot hold."""

from ...grammar import syntax
from ...grammar.diagnostic import Diagnostics, Severity, declare
from ...grammar.source import Span
from ..ops import OPS
from ..records import Scalar, Slot
from ..spec import SpecStage
from .lines import argument_of
from .plain import cone, values
from .run import at_defaults, labelled, passing, report_at
from .subject import Subject

VANISHING_EPS = declare(
    "vanishing-eps",
    "a number that float32 takes for zero",
    """
    Scalars are float32 unless JAX is told otherwise, and there what is below 1.2e-38 is 0 on most
    devices. A guard against a division by zero that is so small guards nothing: `sqrt(nu + eps^2)`
    with `eps = 1e-20` adds 1e-40. In float64 it would work.
    """,
    Severity.WARNING,
)
STUCK_STATE = declare(
    "stuck-state",
    "a narrow state that cannot move",
    """
    bfloat16 has 8 significant bits, so 0.999 times a number is rounded to that number: an average
    with this decay never forgets, and what it once held stays in it for ever. float16 has 11 bits,
    and fades from 0.9997 on downwards.

        state nu: bf16 = zeros(g)
        nu <- 0.999 * nu + (1 - 0.999) * g^2

    A sum of squares, as Adagrad has, stops growing there for the same reason, after a few hundred
    gradients of one size.

    `bf16 stochastic` rounds up or down at random so that the mean is kept; `f32` needs twice the
    memory.
    """,
    Severity.WARNING,
)
FLAT_STATE = declare(
    "underflowing-state",
    "squares of gradients in float16",
    """
    The smallest number of float16 is 6e-8, so the square of a gradient below 2.4e-4 is 0 in it,
    and with a decay of 0.999 that of one below 8e-3. Where `nu` is 0 only `eps` divides, and the
    step is as large as the gradient divided by it. bfloat16 has the range of float32, in the same
    memory.
    """,
    Severity.WARNING,
)

_TINY = 2.0**-126
"""The smallest normal number of float32."""

_HALF_UNIT = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
"""A number that is made smaller by less than this part of it is rounded to itself."""

_FROM_OUTSIDE = ("oracle", "reduction", "history", "opaque", "leaf")


def check_dtypes(subject: Subject, report: Diagnostics) -> None:
    """Warn of what is lost in float32, and in the narrow dtypes of states."""
    _check_tiny(subject, report)
    results = zip(subject.draft.outputs, subject.draft.step.results, strict=True)
    for output, id in results:
        if output.role != "slot" or subject.draft.slots[output.index].dtype not in _HALF_UNIT:
            continue
        slot = subject.draft.slots[output.index]
        stage = labelled(subject, slot.stage)
        if stage is None or subject.nodes[id].op == "round_stochastic":
            continue
        new = passing(subject, id)
        decay = _decay(subject, new, output.index)
        if slot.dtype == "float16" and _squares(subject, stage, new):
            _report_flat(subject, stage, slot, report)
        elif decay is not None and 0 < 1 - decay < _HALF_UNIT[slot.dtype or ""]:
            message = f"in {slot.dtype}, {decay:g} times `{slot.name}` is rounded to what it was"
            _report_stuck(subject, stage, slot, message, "never fades", report)
        elif decay == 1 and _squares(subject, stage, new):
            part = int(1 / _HALF_UNIT[slot.dtype or ""])
            message = f"in {slot.dtype}, what is less than 1/{part} of `{slot.name}` is not added"
            _report_stuck(subject, stage, slot, message, "stops growing", report)


def _report_flat(subject: Subject, stage: SpecStage, slot: Slot, report: Diagnostics) -> None:
    message = f"squares below 6e-08 are 0 in float16, in which `{slot.name}` is stored"
    span = _dtype_span(subject, stage, slot)
    label, help = "then only `eps` divides", "store it in `bf16`, which has the range of float32"
    report_at(subject, report, FLAT_STATE, span, message, label=label, help=help)


def _report_stuck(
    subject: Subject, stage: SpecStage, slot: Slot, message: str, label: str, report: Diagnostics
) -> None:
    span = _dtype_span(subject, stage, slot)
    help = "store it as `bf16 stochastic`, or in `f32`"
    report_at(subject, report, STUCK_STATE, span, message, label=label, help=help)


def _dtype_span(subject: Subject, stage: SpecStage, slot: Slot) -> Span:
    """Where a rule of this file says the dtype, or else the stage's rule."""
    rule = stage.syntax.rule
    named = rule.function if isinstance(rule, syntax.Call) else rule
    name = named.id if isinstance(named, syntax.Name) else ""
    found = stage.declarations.find(stage.kind, name)
    if found is None or not isinstance(found.decl, syntax.RuleDecl):
        return rule.span
    states = (each for each in found.decl.body.statements if isinstance(each, syntax.State))
    said = (each.dtype.span for each in states if each.dtype and each.name.id == slot.name)
    own = (span for span in said if span.source is subject.spec.span.source)
    return next(own, rule.span)


# ---- what a state keeps of itself


def _decay(subject: Subject, id: int, slot: int) -> float | None:
    """What a state is multiplied with in each step, where that is one number."""
    found = set()
    for t in (1_000, 100_000):
        nothing, one, two = (_written(subject, id, slot, held, t) for held in (0.0, 1.0, 2.0))
        if nothing is None or one is None or two is None:
            return None
        found.add(one - nothing)
        if abs(two - nothing - 2 * (one - nothing)) > 1e-12:
            return None
    return found.pop() if len(found) == 1 else None


def _written(subject: Subject, id: int, slot: int, held: float, t: int) -> float | None:
    """The new value of a state that holds one number everywhere, and sees zeros."""
    given: dict[int, Scalar] = {}
    for node in cone(subject.nodes, (id,), {}):
        if node.op == "state" and node["name"] == slot:
            given[node.id] = held
        elif node.type.is_field and OPS[node.op].op_class in _FROM_OUTSIDE:
            given[node.id] = 0.0
    value = values(subject.nodes, (id,), at_defaults(subject, t), given).get(id)
    return None if value is None or isinstance(value, str) else float(value)


# ---- squares


def _squares(subject: Subject, stage: SpecStage, id: int) -> bool:
    """Whether a state adds up squares of what its stage is given."""
    passed = {p.stage: p.before for p in subject.draft.passages}
    left, seen = [id], {passed.get(stage.index, -1)}
    while left:
        node = subject.nodes[left.pop()]
        if node.id in seen or not node.type.is_field or OPS[node.op].op_class != "elementwise":
            continue
        seen.add(node.id)
        exponent = subject.nodes[node.inputs[-1]]
        power = node.op == "pow" and exponent.op == "const" and exponent["value"] == 2
        if node.op == "square" or power or (node.op == "mul" and len({*node.inputs}) == 1):
            return True
        if node.op != "sqrt":
            left += node.inputs
    return False


# ---- numbers that are zero


def _check_tiny(subject: Subject, report: Diagnostics) -> None:
    found = values(subject.nodes, subject.nodes, at_defaults(subject))
    for node in subject.nodes.values():
        stage = subject.stages.get(node.stage)
        if stage is None or node.op not in ("add", "max"):
            continue
        for value in (found.get(id) for id in node.inputs):
            if isinstance(value, float) and 0 < abs(value) < _TINY:
                span = argument_of(subject, stage, value)
                use = "is added" if node.op == "add" else "is the least"
                message = f"{value:.3g} {use} here, which is 0 in float32"
                help = "write 1e-30 or more: float32 ends at 1.2e-38"
                report_at(subject, report, VANISHING_EPS, span, message, help=help)
