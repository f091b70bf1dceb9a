"""Weight decay that an adaptive stage rescales."""

from ...grammar.diagnostic import Diagnostics, Label, Severity, declare
from ..lowering.draft import Passage
from .degree import Degrees
from .lines import shown
from .run import report_at
from .subject import Subject

COUPLED_DECAY = declare(
    "coupled-decay",
    "weight decay that an adaptive stage rescales",
    """
    Decay above Adam is a part of the gradient that Adam normalises: weights whose gradients are
    large decay less, and where the gradient is 0 a weight moves by the whole step size toward 0,
    whatever `rate` is. This is the L2 penalty that AdamW was made to replace (arXiv:1711.05101).

        decay        weights(0.01)     # rescaled by adam
        precondition adam()

    Put the decay below, between `precondition` and `tune step`. torch's `Adam` with its
    `weight_decay` is the form above; the library has it as `adam_coupled`.
    """,
    Severity.WARNING,
)


def check_decay(subject: Subject, report: Diagnostics) -> None:
    """Warn of weight decay above a stage whose result does not depend on the scale of its input."""
    passages = subject.draft.passages
    decays = [p for p in passages if _is_own(subject, p) and _pulls(subject, p)]
    adaptive = [p for p in passages if _is_adaptive(subject, p)] if decays else []
    for passage in decays:
        below = (later for later in subject.below(passage) if later in adaptive)
        if (later := next(below, None)) is not None:
            _warn(subject, passage, later, report)


def _is_own(subject: Subject, passage: Passage) -> bool:
    """Whether a stage is a decay that the optimizer's own file puts in its place.

    The name of a base says where its decay stands: whoever inherits from `adam_coupled` means it.
    """
    stage = subject.stage(passage)
    return stage.kind == "decay" and stage.syntax.span.source is subject.spec.span.source


def _pulls(subject: Subject, passage: Passage) -> bool:
    """Whether a stage adds something that grows with the weights."""
    weights = {n.id for n in subject.nodes.values() if n.op == "input" and n["name"] == "w"}
    node = subject.nodes[subject.made(passage)]
    added = [i for i in node.inputs if i != passage.before]
    if node.op != "add" or len(added) != 1:
        return False
    return Degrees(subject.draft, subject.intervals, seeds=weights)[added[0]].exact == 1


def _is_adaptive(subject: Subject, passage: Passage) -> bool:
    """Whether a stage takes out the scale of its input, of each component by itself.

    One that divides whole tensors by their norms keeps the shares of gradient and decay.
    """
    stage = subject.stage(passage)
    own = (n for n in subject.nodes.values() if n.stage == stage.index and n.type.is_field)
    if stage.kind != "precondition" or not any(
        n.op in _BENDS and n.type.per == "element" for n in own
    ):
        return False
    degrees = Degrees(subject.draft, subject.intervals, seeds={passage.before})
    return degrees[subject.made(passage)].exact == 0


_BENDS = ("sign", "sqrt", "pow", "arctan2")


def _warn(subject: Subject, passage: Passage, later: Passage, report: Diagnostics) -> None:
    stage, adaptive = subject.stage(passage), subject.stage(later)
    message = f"`{shown(adaptive)}` rescales this decay, for each weight by another number"
    help = f"put it below `{shown(adaptive)}`"
    others = (Label(adaptive.syntax.rule.span, "normalises what it gets"),)
    span = stage.syntax.rule.span
    label = "is a part of the gradient here"
    report_at(subject, report, COUPLED_DECAY, span, message, label=label, help=help, others=others)
