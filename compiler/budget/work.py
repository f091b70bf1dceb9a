"""What a step works: operations by stage, and questions to the objective.

Operations are those of the op table: an addition is 1, a root 4, a power 8. They are an average
over steps: what `every n` holds counts as 1/n. Where data decide, the dearer side counts, and a
loop counts all of its rounds; the numbers then are an upper bound. Random numbers, the objective
and transformations of optax are not among them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from ..graph import Graph, Node, Region, index
from ..ops import OPS
from ..parts import shape_of_parts
from ..records import Scalar
from ..types import Type
from .members import Members
from .numbers import Numbers

ORACLES = (
    *("loss", "grad", "outputs", "outputs_grad", "pullback", "hvp", "curvature"),
    "per_example_mean",
)
"""The questions that are counted."""

Tally: TypeAlias = Mapping[str, float]
"""How much of what."""

UPDATE = "update"
"""What the subtraction of the step is called among the stages."""


@dataclass(frozen=True, slots=True)
class Work:
    """Operations by stage and oracles by name, each an average for one call of `step`.

    `at_most` says that data decide, and these are bounds. `uncounted` are stages of which nothing
    is known, since optax does them. `refused` says why the values of hyperparameters are refused.
    """

    flops: Mapping[str, float]
    oracles: Mapping[str, float]
    at_most: bool
    uncounted: tuple[str, ...]
    refused: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """The operations of a step."""
        return sum(self.flops.values())


def work(graph: Graph, members: Members, values: Mapping[str, Scalar]) -> Work:
    """What the `step` region of a graph works."""
    counter = _Counter(graph, members, values)
    found = counter.region(graph.step)
    stages: dict[str, float] = {}
    for stage in range(-1, len(graph.stages)):
        flops = found.get(f"flops {stage}", 0)
        if flops:
            label = graph.stages[stage].label if stage >= 0 else "gradient"
            stages[label] = stages.get(label, 0) + flops
    if any(output.role == "step" for output in graph.outputs):
        stages[UPDATE] = counter.elements(Type("field"))
    oracles = {name: found[name] for name in ORACLES if found.get(name)}
    uncounted, refused = tuple(counter.uncounted), tuple(counter.refused)
    return Work(stages, oracles, counter.at_most, uncounted, refused)


class _Counter:
    def __init__(self, graph: Graph, members: Members, values: Mapping[str, Scalar]) -> None:
        self.graph = graph
        self.nodes = index(graph)
        self.numbers = Numbers(self.nodes.values(), values)
        self.members = members
        self.at_most = False
        self.uncounted: dict[str, None] = {}
        self.refused: dict[str, None] = {}
        self._elements: dict[tuple[int, object], int] = {}
        self._classes = Counter((r.tensor.shape, r.member) for r in members.rows)
        self._like = {(r.tensor.shape, r.member): r.tensor for r in members.rows}

    def region(self, region: Region) -> Tally:
        """Everything that a region works, operations under `flops STAGE`."""
        return _sum(self._node(node) for node in region.nodes)

    def elements(self, type: Type) -> int:
        """How many numbers a value has."""
        if not type.is_field:
            return 1
        key = (type.domain, type.per)
        if key not in self._elements:
            self._elements[key] = sum(
                count * prod(self._shape(type, shape, member))
                for (shape, member), count in self._classes.items()
                if member[type.domain]
            )
        return self._elements[key]

    def _shape(self, type: Type, shape: tuple[int, ...], member: tuple[bool, ...]) -> Sequence[int]:
        if type.per == "element":
            return shape
        seen = self.members.shape(type.domain, self._like[shape, member])
        return shape_of_parts(seen, type.per)

    def _node(self, node: Node) -> Tally:
        op = OPS[node.op]
        match op.op_class:
            case "elementwise":
                return {f"flops {node.stage}": op.flops * self.elements(node.type)}
            case "reduction":
                return {f"flops {node.stage}": op.flops * self.elements(self._reduced(node))}
            case "oracle" if node.op in ORACLES:
                inner = [self.region(region) for region in node.regions]
                return _sum([{node.op: 1}, *inner])
            case "control" if node.op == "if":
                return self._if(node)
            case "control" if node.op == "loop":
                return self._loop(node)
            case "control" if node.op == "refuse":
                place = self.graph.stages[node.stage].place
                self.refused[f"{node['message']} ({place})"] = None
            case "opaque" if node.op == "extern":
                self.uncounted[self.graph.stages[node.stage].label] = None
        return {}

    def _reduced(self, node: Node) -> Type:
        """The type of what is reduced, on the tensors that the reduction sees."""
        fields = [self.nodes[i].type for i in node.inputs if self.nodes[i].type.is_field]
        return fields[0] if fields else node.type

    def _if(self, node: Node) -> Tally:
        condition = node.inputs[0]
        known = self.numbers.of(condition)
        if known is not None:
            return self.region(node.regions[0 if known else 1])
        then, otherwise = (self.region(region) for region in node.regions)
        period = self._period(self.nodes[condition])
        if period is not None:
            return _sum([_times(1 / period, then), _times(1 - 1 / period, otherwise)])
        self.at_most = self.at_most or then != otherwise
        names = dict.fromkeys((*then, *otherwise))
        return {name: max(then.get(name, 0), otherwise.get(name, 0)) for name in names}

    def _loop(self, node: Node) -> Tally:
        rounds = self.numbers.of(node.inputs[0])
        assert isinstance(rounds, int | float)
        body, *condition = (self.region(region) for region in node.regions)
        self.at_most = self.at_most or bool(condition)
        return _times(rounds, _sum([body, *condition]))

    def _period(self, condition: Node) -> float | None:
        """Of how many steps one meets a condition that counts them, if it does."""
        inputs = [self.nodes[i] for i in condition.inputs]
        if condition.op == "eq" and inputs[0].op == "mod" and self.numbers.of(inputs[1].id) == 0:
            period = self.numbers.of(inputs[0].inputs[1])
        elif condition.op == "ge" and self._counts_batches(inputs[0]):
            period = self.numbers.of(inputs[1].id)
        else:
            return None
        return float(period) if isinstance(period, int | float) and period >= 1 else None

    def _counts_batches(self, node: Node) -> bool:
        """Whether a number is that of the micro-batches of `accumulate`."""
        states = [self.nodes[i] for i in node.inputs if self.nodes[i].op == "state"]
        slots = [self.graph.slots[int(state["name"])] for state in states]
        return any((s.stage, s.name) == ("accumulate", "mini_step") for s in slots)


def _sum(tallies: Iterable[Tally]) -> Tally:
    found: dict[str, float] = {}
    for tally in tallies:
        for name, number in tally.items():
            found[name] = found.get(name, 0) + number
    return found


def _times(factor: float, tally: Tally) -> Tally:
    return {name: factor * number for name, number in tally.items() if factor}
