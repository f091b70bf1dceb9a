"""States that grow without bound: averages with a coefficient above 1."""

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import DraftNode
from .subject import Subject, argument_of, shown

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
        stage = next((s for s in subject.stages.values() if s.label == slot.stage), None)
        if stage is not None and grows and all(abs(factor) > 1 for factor in grows):
            message = (
                f"`{slot.name}` of `{shown(stage)}` is multiplied by {grows[0]:g} in each step"
            )
            help = "let the coefficient of an average lie in [0, 1]: `b1 = 0.9 in [0, 1)`"
            span = argument_of(subject, stage, grows[0])
            report.add(DIVERGING_STATE.at(span, message, label="diverges", help=help))


class _Old:
    """How often the old value of one state is in other values."""

    def __init__(self, subject: Subject, id: int) -> None:
        self.subject = subject
        self.id = id
        self._depends: dict[int, bool] = {}

    def factors(self, id: int) -> list[float] | None:
        """The factors of the state in a value, one for each choice; None if it is not linear."""
        if id == self.id:
            return [1.0]
        if not self.depends(id):
            return [0.0]
        node = self.subject.nodes[id]
        match node.op:
            case "copy" | "restrict" | "round_stochastic" | "float":
                return self.factors(node.inputs[0])
            case "add" | "sub":
                return self._sum(node)
            case "neg":
                return _times(self.factors(node.inputs[0]), -1.0)
            case "mul" | "div":
                return self._product(node)
            case "where":
                return None if self.depends(node.inputs[0]) else self._either(*node.inputs[1:])
            case "merge":
                return self._either(*node.inputs)
            case "item":
                return self._chosen(node)
            case _:
                return None

    def depends(self, id: int) -> bool:
        """Whether a value is made with the state."""
        if id not in self._depends:
            node = self.subject.nodes[id]
            inner = (result for region in node.regions for result in region.results)
            found = id == self.id or any(self.depends(i) for i in (*node.inputs, *inner))
            self._depends[id] = found
        return self._depends[id]

    def _sum(self, node: DraftNode) -> list[float] | None:
        one, other = (self.factors(i) for i in node.inputs)
        if one is None or other is None or len(one) * len(other) > _CHOICES:
            return None
        sign = -1 if node.op == "sub" else 1
        return [x + sign * y for x in one for y in other]

    def _product(self, node: DraftNode) -> list[float] | None:
        state, factor = node.inputs
        if self.depends(factor) and node.op == "mul":
            state, factor = factor, state
        value = self.subject.intervals[factor].point
        if self.depends(factor) or value is None or (node.op == "div" and value == 0):
            return None
        return _times(self.factors(state), 1 / value if node.op == "div" else value)

    def _either(self, one: int, other: int) -> list[float] | None:
        first, second = self.factors(one), self.factors(other)
        return None if first is None or second is None else first + second

    def _chosen(self, node: DraftNode) -> list[float] | None:
        source = self.subject.nodes[node.inputs[0]]
        if source.op != "if" or self.depends(source.inputs[0]):
            return None
        yes, no = (region.results[int(node["index"])] for region in source.regions)
        return self._either(yes, no)


_CHOICES = 16
"""No more choices than these are followed."""


def _times(factors: list[float] | None, value: float) -> list[float] | None:
    return None if factors is None else [factor * value for factor in factors]
