"""States that grow without bound: averages with a coefficient above 1."""

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import DraftNode
from .lines import argument_of, shown
from .run import labelled, report_at
from .subject import Subject

DIVERGING_STATE = declare(
    "diverging-state",
    "a state that is multiplied by more than 1 in each step",
    """
    `mu <- b1 * mu + (1 - b1) * g` is an average where `b1` lies in [0, 1]. Above 1, or below -1,
    what is in the state grows by that factor in each step: with 1.9 it is 10^27 after a hundred.

    Give the parameter a range, `b1 = 0.9 in [0, 1)`: a value outside is then an error, also where
    it is set while the program runs. The rules of the library have such ranges.
    """,
    Severity.WARNING,
)


def check_moment(subject: Subject, report: Diagnostics) -> None:
    """Warn of states whose new value is more than once the old one, whatever else is added."""
    draft = subject.draft
    reads = {int(n["name"]): n.id for n in subject.nodes.values() if n.op == "state"}
    for output, result in zip(draft.outputs, draft.step.results, strict=True):
        if output.role != "slot" or output.index not in reads:
            continue
        factors = _Old(subject, reads[output.index]).factors(result) or []
        # Where the state is left as it is, in some steps or for some tensors, it does not grow.
        grows = [factor for factor in factors if factor != 1]
        slot = draft.slots[output.index]
        stage = labelled(subject, slot.stage)
        if stage is not None and grows and all(abs(factor) > 1 for factor in grows):
            message = (
                f"`{slot.name}` of `{shown(stage)}` is multiplied by {grows[0]:g} in each step"
            )
            help = "let the coefficient of an average lie in [0, 1]: `b1 = 0.9 in [0, 1)`"
            span = argument_of(subject, stage, grows[0])
            report_at(subject, report, DIVERGING_STATE, span, message, label="diverges", help=help)


class _Old:
    """How often the old value of one state is in other values."""

    def __init__(self, subject: Subject, id: int) -> None:
        self._intervals = subject.intervals
        self._nodes = subject.nodes
        self._factors: dict[int, _Factors] = {}
        for node in subject.nodes.values():
            self._factors[node.id] = [1.0] if node.id == id else self._node(node)

    def factors(self, id: int) -> "_Factors":
        """The factors of the state in a value, one for each choice; None if it is not linear."""
        return self._factors[id]

    def _node(self, node: DraftNode) -> "_Factors":
        found = [self._factors[i] for i in node.inputs]
        results = (self._factors[i] for region in node.regions for i in region.results)
        if node.op != "argument" and all(each == [0.0] for each in (*found, *results)):
            return [0.0]
        match node.op:
            case "copy" | "restrict" | "round_stochastic" | "float":
                return found[0]
            case "add":
                return _sum(*found)
            case "sub":
                return _sum(found[0], _times(found[1], -1.0))
            case "neg":
                return _times(found[0], -1.0)
            case "mul" | "div":
                return self._product(node, *found)
            case "where":
                return _either(*found[1:]) if found[0] == [0.0] else None
            case "merge":
                return _either(*found)
            case "item":
                return self._chosen(node)
            case _:
                return None

    def _product(self, node: DraftNode, one: "_Factors", other: "_Factors") -> "_Factors":
        first, second = (self._intervals[i].point for i in node.inputs)
        if other == [0.0] and second is not None:
            if node.op == "mul":
                return _times(one, second)
            return _times(one, 1 / second) if second else None
        return _times(other, first) if one == [0.0] and node.op == "mul" and first else None

    def _chosen(self, node: DraftNode) -> "_Factors":
        source = self._nodes[node.inputs[0]]
        if source.op != "if" or self._factors[source.inputs[0]] != [0.0]:
            return None
        yes, no = (region.results[int(node["index"])] for region in source.regions)
        return _either(self._factors[yes], self._factors[no])


_Factors = list[float] | None

_CHOICES = 16
"""No more choices than these are followed."""


def _sum(one: _Factors, other: _Factors) -> _Factors:
    if one is None or other is None or len(one) * len(other) > _CHOICES:
        return None
    return [x + y for x in one for y in other]


def _either(one: _Factors, other: _Factors) -> _Factors:
    if one is None or other is None or len(one) + len(other) > _CHOICES:
        return None
    return one + other


def _times(factors: _Factors, value: float) -> _Factors:
    return None if factors is None else [factor * value for factor in factors]
