"""States that never change, with the numbers that a line gives to its rule."""

from collections.abc import Iterable, Mapping

from ...grammar.diagnostic import Diagnostics, Severity, declare
from ..lowering.draft import DraftNode
from ..records import Scalar
from .plain import values
from .run import labelled, report_at
from .subject import Subject, walk

CONSTANT_STATE = declare(
    "constant-state",
    "a state that never changes",
    """
    With the numbers that this line gives, each step writes back what was there, or what the state
    held at first. It costs memory for every weight and does nothing, and neither does what the rule
    makes of it.

        average lookahead(slow_step_size = 0)     # the slow weights stay where they are

    Only literals count: a hyperparameter whose default is 0 may get another value.
    """,
    Severity.WARNING,
)


def check_constant(subject: Subject, report: Diagnostics) -> None:
    """Warn of states that are written and stay as they are, whatever the gradients are."""
    draft = subject.draft
    results = zip(draft.outputs, draft.step.results, strict=True)
    written = {o.index: id for o, id in results if o.role == "slot"}
    same, resting = _resting(subject, written)
    for slot, id in written.items():
        node = subject.nodes[id]
        if node.op == "state" or (node.op == "restrict" and same.is_state(id, slot)):
            continue
        stage = labelled(subject, draft.slots[slot].stage)
        if stage is not None and (slot in resting or same.is_state(id, slot)):
            name = draft.slots[slot].name
            message = f"the state `{name}` of this rule never changes"
            help = "leave the stage out, or give it numbers with which the state moves"
            span = stage.syntax.rule.span
            report_at(subject, report, CONSTANT_STATE, span, message, help=help)


def _resting(subject: Subject, written: Mapping[int, int]) -> tuple["_Same", set[int]]:
    """The states that each step leaves at the number that they start with.

    All fields are taken to do so that start with a literal, until one that does not is found. A
    number that rests with these literals costs nothing, and may be there for others.
    """
    start, slots = subject.draft.start, subject.draft.slots
    starts = _literals(walk(start), start.results, {})
    resting = {n: starts[id] for n, id in enumerate(start.results) if id in starts}
    while True:
        fields = {n: x for n, x in resting.items() if slots[n].type.is_field}
        known = _literals(subject.nodes.values(), subject.draft.step.results, fields)
        same = _Same(subject.nodes, known)
        left = {n: x for n, x in resting.items() if same.literal(written[n]) == x}
        if left == resting:
            return same, set(resting)
        resting = left


def _literals(
    nodes: Iterable[DraftNode], roots: Iterable[int], states: Mapping[int, Scalar]
) -> dict[int, Scalar]:
    """The values that are made of literals alone, and of states with these numbers."""

    def known(node: DraftNode) -> Scalar | None:
        return states.get(int(node["name"])) if node.op == "state" else None

    return values({node.id: node for node in nodes}, roots, known)


class _Same:
    """What values are equal to, by what adds nothing: zeros, ones, and decided choices."""

    def __init__(self, nodes: Mapping[int, DraftNode], literals: Mapping[int, Scalar]) -> None:
        self._nodes = nodes
        self._known: dict[int, Scalar] = dict(literals)
        self._same: dict[int, int] = {}
        for id in sorted(nodes):
            if id not in self._known:
                self._look(nodes[id])

    def literal(self, id: int) -> Scalar | None:
        """The number that a value is."""
        return self._known.get(self._same.get(id, id))

    def is_state(self, id: int, slot: int) -> bool:
        """Whether a value is what the state `slot` held before."""
        node = self._nodes[self._same.get(id, id)]
        return node.op == "state" and node["name"] == slot

    def _look(self, node: DraftNode) -> None:
        ids = [self._same.get(i, i) for i in node.inputs]
        match node.op, [self._known.get(i) for i in ids]:
            case ("mul", (0, _) | (_, 0)) | ("div", (0, _)) | ("neg", (0,)):
                self._known[node.id] = 0.0
            case "sub", _ if ids[0] == ids[1]:
                self._known[node.id] = 0.0
            case ("add", (0, _)) | ("mul", (1, _)):
                self._is(node, ids[1])
            case ("add" | "sub", (_, 0)) | ("mul" | "div" | "pow", (_, 1)):
                self._is(node, ids[0])
            case (("restrict" | "copy" | "float" | "round_stochastic"), _):
                self._is(node, ids[0])
            case "where", (condition, _, _):
                self._choose(node, condition, ids[1], ids[2])
            case "merge", _:
                self._choose(node, None, ids[0], ids[1])
            case "item", _ if self._nodes[node.inputs[0]].op == "if":
                source, place = self._nodes[node.inputs[0]], node["index"]
                assert isinstance(place, int)
                results = [region.results[place] for region in source.regions]
                yes, no = (self._same.get(i, i) for i in results)
                condition = self._known.get(self._same.get(source.inputs[0], source.inputs[0]))
                self._choose(node, condition, yes, no)

    def _choose(self, node: DraftNode, condition: Scalar | None, yes: int, no: int) -> None:
        equal = yes == no or (yes in self._known and self._known[yes] == self._known.get(no))
        if condition is not None or equal:
            self._is(node, yes if equal or condition else no)

    def _is(self, node: DraftNode, other: int) -> None:
        self._same[node.id] = other
        if other in self._known:
            self._known[node.id] = self._known[other]
