"""How often a step asks each oracle, at most: through loops, and with all that is sometimes due."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from .budget.numbers import Numbers
from .graph import Graph, Node, Region, index
from .ops import ASKED, OPERATORS
from .records import Scalar


@dataclass(frozen=True, slots=True)
class Times:
    """How often something is asked in a step.

    `most` is infinite where a parameter without a value says how often. `always` says that each
    step asks as often; where it is false, data or the number of the step decide.
    """

    most: float
    always: bool = True

    def __str__(self) -> str:
        if self.most == inf:
            return "as often as a parameter says"
        return f"{self.most:g}" if self.always else f"up to {self.most:g}"


_Tally = Mapping[str, Times]


def questions(graph: Graph) -> dict[str, Times]:
    """How often a step asks each oracle, with the hyperparameters at their defaults."""
    values = {h.name: h.default for h in graph.hyperparameters if h.default is not None}
    found = _Counter(graph, values).region(graph.step)
    return {name: found[name] for name in ASKED if name in found}


def measurements(graph: Graph) -> tuple[str, ...]:
    """The names under which a step asks what the model measures, by their defaults."""
    nodes = index(graph)
    found: dict[str, None] = {}
    defaults = {h.name: h.default for h in graph.hyperparameters}
    for node in nodes.values():
        if node.op == "measured":
            name = nodes[node.inputs[2]]
            found[str(name["value"] if name.op == "const" else defaults[str(name["name"])])] = None
    return tuple(found)


class _Counter:
    def __init__(self, graph: Graph, values: Mapping[str, Scalar]) -> None:
        self.numbers = Numbers(index(graph).values(), values)

    def region(self, region: Region) -> _Tally:
        found: _Tally = {}
        for node in region.nodes:
            found = _sum(found, self._node(node))
        return found

    def _node(self, node: Node) -> _Tally:
        match node.op:
            case "if":
                return self._if(node)
            case "loop":
                return self._loop(node)
            case _ if node.op in ASKED:
                return {node.op: Times(1)}
            case _ if node.op in OPERATORS:
                return _times(self._applied(node), self.region(node.regions[0]))
            case _:
                return {}

    def _applied(self, node: Node) -> float:
        """How often an operator is applied."""
        times = self._count(node.inputs[1])
        return 2 * times if node.op == "xtrace" else times

    def _count(self, id: int) -> float:
        count = self.numbers.of(id)
        return inf if count is None else max(float(count), 0)

    def _if(self, node: Node) -> _Tally:
        known = self.numbers.of(node.inputs[0])
        if known is not None:
            return self.region(node.regions[0 if known else 1])
        return _either(*(self.region(region) for region in node.regions))

    def _loop(self, node: Node) -> _Tally:
        rounds = self._count(node.inputs[0])
        body, *condition = (self.region(region) for region in node.regions)
        if not condition:
            return _times(rounds, body)
        # A condition is asked once more than there are rounds, if none of them ends the loop.
        found = _sum(_times(rounds, body), _times(rounds + 1, condition[0]))
        return {name: Times(times.most, always=False) for name, times in found.items()}


_NEVER = Times(0)


def _sum(one: _Tally, other: _Tally) -> _Tally:
    found = dict(one)
    for name, times in other.items():
        before = found.get(name, _NEVER)
        found[name] = Times(before.most + times.most, before.always and times.always)
    return found


def _either(one: _Tally, other: _Tally) -> _Tally:
    """What one of two sides asks."""
    pairs = {name: (one.get(name, _NEVER), other.get(name, _NEVER)) for name in (*one, *other)}
    return {name: Times(max(a.most, b.most), a.always and a == b) for name, (a, b) in pairs.items()}


def _times(rounds: float, tally: _Tally) -> _Tally:
    return {name: Times(rounds * t.most, t.always) for name, t in tally.items() if rounds}
