"""Clips that do nothing, or not what their name says."""

from collections.abc import Iterable

from ...grammar.diagnostic import Diagnostics, Label, Severity, declare
from ..lowering.draft import DraftNode, Passage
from ..ops import OPS
from .degree import Degrees
from .lines import shown
from .run import report_at
from .subject import Subject

CLIP_AFTER_SIGN = declare(
    "clip-after-sign",
    "a clip of numbers that all have one size",
    """
    After a sign each component is -1, 0 or 1. A limit on the components does nothing, or is a
    constant factor; a limit on the norm is one too, since the norm is the root of the number of
    weights.

        precondition lion()
        clip         global_norm(1.0)     # divides by the root of the number of weights

    Put the clip above, where it sees the gradient, or leave it out and change the step size.
    """,
    Severity.WARNING,
)
DEAD_CLIP = declare(
    "dead-clip",
    "a clip that a later stage takes out again",
    """
    A clip that scales the whole signal changes its length and not its direction. What stands below
    it takes the length out in each step by itself, and keeps nothing of it in a state.

        clip         global_norm(1.0)     # has no effect
        precondition sign()

    Leave it out. Above a momentum a clip does have an effect: it changes what each step adds to it.
    """,
    Severity.WARNING,
)
CLIP_IN_GROUP = declare(
    "clip-in-group",
    'a "global" clip inside a group',
    """
    A reduction inside a group runs over the group's tensors. So `clip global_norm(1.0)` limits the
    norm of those tensors there, and with one in each group the whole gradient may be as long as the
    root of the number of groups.

    Put it above the groups. Where a group is to have a limit of its own, `clip per_tensor` or a
    rule with a name that says so does not hide it. Where a global clip stands above the groups
    already, nothing is said.
    """,
    Severity.WARNING,
)
CROSSED_LIMITS = declare(
    "crossed-limits",
    "a lower limit above the upper one",
    """
    `clamp(x, low, high)` with `low` above `high` is `high`, whatever `x` is. A limit that was
    meant to be positive may be negative: `clamp(g, -limit, limit)` with a `limit` of -1 makes every
    component of the signal -1.

    Give the parameter a range: `limit = 1.0 in (0, inf)`. A value outside is then refused.
    """,
    Severity.WARNING,
)


def check_clip(subject: Subject, report: Diagnostics) -> None:
    """Warn of clips that do nothing, and of limits that cannot be meant."""
    for passage in subject.draft.passages:
        if subject.stage(passage).kind == "clip":
            if not _check_after_sign(subject, passage, report):
                _check_dead(subject, passage, report)
            _check_in_group(subject, passage, report)
    for node in subject.nodes.values():
        if node.op == "clamp" and node.stage in subject.stages:
            low, high = (subject.intervals[i] for i in node.inputs[1:])
            if low.low > high.high:
                stage = subject.stages[node.stage]
                message = f"`{shown(stage)}` clamps between {low.low:g} and {high.high:g}"
                label = f"gives {high.high:g}, whatever it gets"
                help = "let the lower limit be below the upper one"
                span = stage.syntax.rule.span
                report_at(subject, report, CROSSED_LIMITS, span, message, label=label, help=help)


def _check_after_sign(subject: Subject, passage: Passage, report: Diagnostics) -> bool:
    sign = _sign(subject, passage.before)
    before = {passage.before}
    made = subject.made_of(before, reduced=True)
    scaled = subject.made(passage) in made or subject.factors(passage, choices=True)
    if sign is None or not scaled:
        return False
    stage, maker = subject.stage(passage), subject.stages.get(sign.stage)
    message = f"`{shown(stage)}` acts on signs: it does nothing, or is a constant factor"
    help = "put it above the stage that takes the sign, or leave it out"
    others = (Label(maker.syntax.rule.span, "gives -1, 0 or 1"),) if maker else ()
    span = stage.syntax.rule.span
    report_at(
        subject,
        report,
        CLIP_AFTER_SIGN,
        span,
        message,
        label="limits nothing",
        help=help,
        others=others,
    )
    return True


def _sign(subject: Subject, id: int) -> DraftNode | None:
    """The `sign` of which a value is a scalar multiple, if it is one."""
    node = subject.nodes[id]
    while node.op in ("mul", "neg", "restrict"):
        fields = [n for i in node.inputs if (n := subject.nodes[i]).type.is_field]
        if len(fields) != 1:
            return None
        (node,) = fields
    return node if node.op == "sign" else None


def _check_dead(subject: Subject, passage: Passage, report: Diagnostics) -> None:
    factors = subject.factors(passage, choices=True)
    if not factors or any(subject.intervals[i].low < 0 for i in factors):
        return
    if _may_be_zero(subject, factors):
        return  # It drops steps, which is no matter of their length.
    seed = subject.made(passage)
    degrees = Degrees(subject.draft, subject.intervals, seeds={seed}, memory=False)
    if any(degrees[end].exact != 0 for end in subject.ends):
        return
    taken = subject.takes_out(passage, degrees)
    if taken is not None:
        stage, killer = subject.stage(passage), subject.stage(taken)
        message = f"`{shown(stage)}` has no effect: `{shown(killer)}` takes out every length"
        others = (Label(killer.syntax.rule.span, "gives the same for every length"),)
        span = stage.syntax.rule.span
        help = "leave it out"
        report_at(
            subject,
            report,
            DEAD_CLIP,
            span,
            message,
            label="is taken out",
            help=help,
            others=others,
        )


def _may_be_zero(subject: Subject, factors: Iterable[int]) -> bool:
    """Whether one of these is made of a choice that has 0 on a side."""
    left, seen = list(factors), set()
    while left:
        node = subject.nodes[left.pop()]
        if node.id in seen:
            continue
        seen.add(node.id)
        if subject.intervals[node.id].point == 0:
            return True
        if OPS[node.op].op_class == "elementwise":
            left += node.inputs[1:] if node.op == "where" else node.inputs
        elif node.op == "item":
            source = subject.nodes[node.inputs[0]]
            if source.op != "if":
                return True  # A loop, or what optax gives: nobody knows.
            left += [region.results[int(node["index"])] for region in source.regions]
    return False


def _check_in_group(subject: Subject, passage: Passage, report: Diagnostics) -> None:
    stage, group = subject.stage(passage), subject.group(passage)
    if not group or len(subject.spec.groups) < 2 or "global" not in shown(stage):
        return
    if any("global" in shown(above) for above in subject.spec.before):
        return  # The whole gradient is clipped above; here a part of it is meant.
    own = (node for node in subject.nodes.values() if node.stage == stage.index)
    reductions = (node for node in own if OPS[node.op].op_class == "reduction")
    if any("per" not in dict(node.attributes) for node in reductions):
        message = f"`{shown(stage)}` in a group sees the tensors of `{group}` only"
        help = "put it above the groups, where it sees the whole gradient"
        span = stage.syntax.rule.span
        label = "is not global here"
        report_at(subject, report, CLIP_IN_GROUP, span, message, label=label, help=help)
