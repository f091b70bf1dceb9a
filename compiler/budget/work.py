"""What a step works: operations by stage, and questions to the objective.

Operations are those of the op table: an addition is 1, a root 4, a power 8. They are an average
over steps: what `every n` holds counts as 1/n. Where data decide, the dearer side counts, and a
loop counts all of its rounds; the numbers then are an upper bound. Random numbers, the objective
and transformations of optax are not among them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..graph import Graph, Node, Region, index
from ..ops import ASKED, OPS
from ..records import Scalar
from .extents import Extents
from .numbers import Numbers

Tally: TypeAlias = Mapping[str, float]
"""How much of what."""

UPDATE = "update"
"""What the subtraction of the step is called among the stages."""


@dataclass(frozen=True, slots=True)
class Work:
    """Operations by stage and oracles by name, each an average for one call of `step`.

    `at_most` says that data decide, and these are bounds. `uncounted` are stages of which nothing
    is known, since optax does them.
    """

    flops: Mapping[str, float]
    oracles: Mapping[str, float]
    at_most: bool
    uncounted: tuple[str, ...]

    @property
    def total(self) -> float:
        """The operations of a step."""
        return sum(self.flops.values())


def work(graph: Graph, extents: Extents, weights: int, values: Mapping[str, Scalar]) -> Work:
    """What the `step` region of a graph works, on so many weights."""
    counter = _Counter(graph, extents, values)
    found = counter.region(graph.step)
    stages: dict[str, float] = {}
    for stage in range(-1, len(graph.stages)):
        flops = found.get(f"flops {stage}", 0)
        if flops:
            label = graph.stages[stage].label if stage >= 0 else "gradient"
            stages[label] = stages.get(label, 0) + flops
    if any(output.role == "step" for output in graph.outputs):
        stages[UPDATE] = weights
    oracles = {name: found[name] for name in ASKED if found.get(name)}
    return Work(stages, oracles, counter.at_most, tuple(counter.uncounted))


class _Counter:
    def __init__(self, graph: Graph, extents: Extents, values: Mapping[str, Scalar]) -> None:
        self.graph = graph
        self.nodes = index(graph)
        self.numbers = Numbers(self.nodes.values(), values)
        self.extents = extents
        self.at_most = False
        self.uncounted: dict[str, None] = {}

    def region(self, region: Region) -> Tally:
        """Everything that a region works, operations under `flops STAGE`."""
        return _sum(self._node(node) for node in region.nodes)

    def _node(self, node: Node) -> Tally:
        op = OPS[node.op]
        match op.op_class:
            case "elementwise":
                size = self.extents.elements[node.id] if node.type.is_field else 1
                return {f"flops {node.stage}": op.flops * size}
            case "reduction":
                return {f"flops {node.stage}": op.flops * self.extents.reduced[node.id]}
            case "oracle" if node.op in ASKED:
                inner = [self.region(region) for region in node.regions]
                return _sum([{node.op: 1}, *inner])
            case "control" if node.op == "if":
                return self._if(node)
            case "control" if node.op == "loop":
                return self._loop(node)
            case "opaque" if node.op == "extern":
                self.uncounted[self.graph.stages[node.stage].label] = None
        return {}

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
