"""An eps beside a root that is never larger, so that the stage divides by a constant."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import DraftNode
from .lines import argument_of, shown
from .run import passing, report_at
from .subject import Subject

DOMINANT_EPS = declare(
    "dominant-eps",
    "an eps that is larger than what it guards",
    """
    An eps keeps a denominator from 0 and should be small beside it. After a clip, a sign or a
    normalisation a gradient has a largest size. Where eps is no smaller than what the root can be
    then, the denominator lies between eps and twice eps for every weight: nothing is adapted, and
    the stage is plain momentum, divided by eps.

        clip         value(0.001)
        precondition adam(eps = 0.001)      # divides by 0.001 to 0.002

    Make eps smaller, clip less, or leave the adaptive stage out. An eps that is large on purpose
    has nothing to say against it where nothing bounds the gradient.
    """,
    Severity.WARNING,
)

_ROUNDING = 1 + 1e-9


def check_dominant(subject: Subject, report: Diagnostics) -> None:
    """Warn of the first eps of each stage that is never smaller than what it is added to."""
    bounds = Bounds(subject)
    found: set[int] = set()
    for node in subject.nodes.values():
        if node.op != "div" or node.stage in found or node.stage not in subject.stages:
            continue
        guarded = _guarded(subject, node.inputs[1])
        size = None if guarded is None else bounds.of(guarded[1].id)
        if guarded is None or size is None:
            continue
        eps = subject.intervals[guarded[0].id].point
        if eps is not None and 0 < size <= eps * _ROUNDING:
            found.add(node.stage)
            _report(subject, node, guarded[0], eps, size, report)


def _report(
    subject: Subject,
    node: DraftNode,
    guard: DraftNode,
    eps: float,
    size: float,
    report: Diagnostics,
) -> None:
    stage = subject.stages[node.stage]
    message = f"`{guard.name}` is {eps:g}, and what it guards at most {size:.3g}"
    report_at(
        subject,
        report,
        DOMINANT_EPS,
        argument_of(subject, stage, eps),
        message,
        label=f"`{shown(stage)}` divides by a constant, nearly",
        help="an eps is small beside the root: make it smaller, or clip less",
    )


def _guarded(subject: Subject, denominator: int) -> tuple[DraftNode, DraftNode] | None:
    """The eps of a denominator, and what it guards: `sqrt(s) + eps`, `sqrt(s + eps)`."""
    node = subject.nodes[denominator]
    outer = node.op != "sqrt"
    if not outer:
        node = subject.nodes[node.inputs[0]]
    if node.op not in ("add", "max") or not node.type.is_field:
        return None
    first, second = (subject.nodes[i] for i in node.inputs)
    for eps, other in ((first, second), (second, first)):
        # A number that stands in the rule itself is more than a guard: g / (1 + sqrt(nu)).
        named = eps.op == "parameter" or (eps.op == "const" and eps.name is not None)
        if named and other.type.is_field and (not outer or other.op == "sqrt"):
            return eps, other
    return None


class Bounds:
    """How large a value can be in each element, where a clip above, or its form, says so."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._nodes: Mapping[int, DraftNode] = subject.nodes
        self._known: dict[int, float | None] = {}
        for id in sorted(self._nodes):  # after those of everything that it is made of
            self._known[id] = self._of(self._nodes[id])

    def of(self, id: int) -> float | None:
        """A bound of the size of a value; None where there is none to be seen."""
        return self._known.get(id)

    def _of(self, node: DraftNode) -> float | None:
        interval = self._subject.intervals[node.id]
        size = max(abs(interval.low), abs(interval.high))
        found = (size, self._by_form(node), self._average(node))
        return min((x for x in found if x is not None and math.isfinite(x)), default=None)

    def _by_form(self, node: DraftNode) -> float | None:
        match node.op:
            case "mul":
                return self._product(*node.inputs)
            case "div":
                return self._quotient(*node.inputs)
            case "square":
                return self._product(node.inputs[0], node.inputs[0])
            case "pow" if self._point(node.inputs[1]) == 2:
                return self._product(node.inputs[0], node.inputs[0])
            case "sqrt":
                size = self.of(node.inputs[0])
                return None if size is None else math.sqrt(size)
            case "abs" | "neg" | "copy" | "restrict" | "float":
                return self.of(node.inputs[0])
            case _:
                return None

    def _product(self, one: int, other: int) -> float | None:
        if one == other:
            size = self.of(one)
            return None if size is None else size * size
        for factor, id in ((one, other), (other, one)):
            limit = self._limit(factor, id)
            if limit is not None:
                return limit
            point, size = self._point(factor), self.of(id)
            if point is not None and size is not None:
                return abs(point) * size
        return None

    def _quotient(self, x: int, y: int) -> float | None:
        if self._is_length(y, x):
            return 1.0
        size, point = self.of(x), self._point(y)
        if size is not None and point:
            return size / abs(point)
        # Without its bias an average is still one of what it was made of.
        mean = self._averages.get(x)
        return self.of(x) if mean is not None and self._is_debias(y, mean.kept) else None

    # ---- lengths

    def _limit(self, factor: int, id: int) -> float | None:
        """The c of `min(1, c / norm(x)) * x`."""
        node = self._nodes[factor]
        if node.op != "min":
            return None
        for side in (self._nodes[i] for i in node.inputs):
            if side.op == "div" and self._is_length(side.inputs[1], id):
                return self._point(side.inputs[0])
        return None

    def _is_length(self, id: int, of: int) -> bool:
        """Whether a value is a norm of another, or that and an eps: no element is larger."""
        node = self._nodes[id]
        sides = [self._nodes[i] for i in node.inputs] if node.op in ("add", "max") else [node]
        if node.op == "add" and any(self._subject.intervals[side.id].low < 0 for side in sides):
            return False
        norms = [side.inputs[0] for side in sides if side.op == "norm"]
        return any(self._whole(norm) == self._whole(of) for norm in norms)

    def _whole(self, id: int) -> int:
        """The value that a restricted one is a part of."""
        while self._nodes[id].op == "restrict":
            id = self._nodes[id].inputs[0]
        return id

    def _point(self, id: int) -> float | None:
        return self._subject.intervals[id].point

    # ---- averages

    @cached_property
    def _averages(self) -> Mapping[int, "_Average"]:
        """The states that start at 0 and forget, by their new value."""
        draft = self._subject.draft
        found = {}
        for output, id in zip(draft.outputs, draft.step.results, strict=True):
            if output.role != "slot":
                continue
            start = self._subject.intervals[draft.start.results[output.index]]
            new = self._nodes[passing(self._subject, id)]
            mean = self._parts(new, output.index)
            if mean is not None and start.point == 0 and 0 <= mean.kept < 1:
                found[new.id] = mean
        return found

    def _parts(self, new: DraftNode, slot: int) -> "_Average | None":
        """The parts of `b * state + k * x`, or of `state + k * (x - state)`."""
        if new.op != "add":
            return None
        for old, more in (new.inputs, new.inputs[::-1]):
            for factor, added in self._multiples(more):
                for kept, state in self._multiples(old):
                    if self._is_state(state, slot):
                        return _Average(kept, factor, added)
                inner = self._nodes[added]
                pulled = inner.op == "sub" and self._is_state(inner.inputs[1], slot)
                if pulled and self._is_state(old, slot):
                    return _Average(1 - factor, factor, inner.inputs[0])
        return None

    def _multiples(self, id: int) -> list[tuple[float, int]]:
        """The ways in which a value is a number times another."""
        node = self._nodes[id]
        if node.op != "mul":
            return []
        pairs = ((self._point(x), y) for x, y in (node.inputs, node.inputs[::-1]))
        return [(factor, other) for factor, other in pairs if factor is not None]

    def _is_state(self, id: int, slot: int) -> bool:
        node = self._nodes[id]
        return node.op == "state" and node["name"] == slot

    def _average(self, node: DraftNode) -> float | None:
        """The bound of a sum that forgets: k / (1 - b) of what is added."""
        mean = self._averages.get(node.id)
        size = self.of(mean.added) if mean is not None else None
        if mean is None or size is None:
            return None
        return abs(mean.factor) / (1 - mean.kept) * size

    def _is_debias(self, id: int, kept: float) -> bool:
        """Whether a divisor is `1 - b^t`."""
        node = self._nodes[id]
        if node.op != "sub" or self._point(node.inputs[0]) != 1:
            return False
        power = self._nodes[node.inputs[1]]
        base = self._point(power.inputs[0]) if power.op == "pow" else None
        if base is None or not math.isclose(base, kept, rel_tol=1e-12):
            return False
        exponent = self._nodes[power.inputs[1]]
        return exponent.op == "input" and exponent["name"] == "t"


class _Average(NamedTuple):
    """A state that becomes `kept` times itself and `factor` times what is `added`."""

    kept: float
    factor: float
    added: int
