"""What a step works: operations by stage, and questions to the objective.

Operations are those of the op table: an addition is 1, a root 4, a power 8 (but a whole power the
products that it takes); those of matrices are in `algebra`. They are an average over steps: what
`every n` holds counts as 1/n, and what only the first step does, as `t == 1` says, counts nothing.
Where data decide, the dearer side counts, and a loop counts all of its rounds; the numbers then are
an upper bound. Random numbers, the objective, arithmetic on model outputs and transformations of
optax are not among them; a function of one example's gradient counts once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..graph import Graph, Node, Region, index
from ..ops import ASKED, KRYLOV, OPERATORS, OPS
from ..records import Scalar
from .extents import Extents
from .numbers import Numbers
from .periods import MOST, Conditions, Residue, share
from .places import started

_LATE = {"gt": True, "ge": True, "ne": True, "lt": False, "le": False, "eq": False}
"""Whether a comparison of the count of steps with a number holds in the end."""

Tally: TypeAlias = Mapping[str, float]
"""How much of what."""

UPDATE = "update"
"""What the subtraction of the step is called among the stages."""


@dataclass(frozen=True, slots=True)
class Work:
    """Operations by stage and oracles by name, each an average for one call of `step`.

    `at_most` says that data decide, and these are bounds; `bounded` are the oracles for which they
    do. `uncounted` are stages of which nothing is known, since optax does them.
    """

    flops: Mapping[str, float]
    oracles: Mapping[str, float]
    at_most: bool
    bounded: frozenset[str]
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
    if any(output.role in ("step", "moved") for output in graph.outputs):
        stages[UPDATE] = weights
    oracles = {name: found[name] for name in ASKED if found.get(name)}
    bounded = frozenset(counter.bounded & oracles.keys())
    return Work(stages, oracles, counter.at_most, bounded, tuple(counter.uncounted))


def turn(graph: Graph, node: Node, extents: Extents, values: Mapping[str, Scalar]) -> float:
    """The operations of staggered work for all tensors that were sized, at their turn."""
    found = _Counter(graph, extents, values).region(node.regions[0])
    return sum(number for name, number in found.items() if name.startswith("flops "))


class _Counter:
    def __init__(self, graph: Graph, extents: Extents, values: Mapping[str, Scalar]) -> None:
        self.graph = graph
        self.nodes = index(graph)
        self.numbers = Numbers(self.nodes.values(), values)
        self.extents = extents
        self.met: Conditions = ()
        self.at_most = False
        self.bounded: set[str] = set()
        self.uncounted: dict[str, None] = {}

    def region(self, region: Region) -> Tally:
        """Everything that a region works, operations under `flops STAGE`."""
        return _sum(self._node(node) for node in region.nodes)

    def _node(self, node: Node) -> Tally:
        op = OPS[node.op]
        match op.op_class:
            case "elementwise":
                size = 1 if node.type.is_scalar else self.extents.elements[node.id]
                return {f"flops {node.stage}": self._operations(node) * size}
            case "reduction":
                return {f"flops {node.stage}": op.flops * self.extents.reduced[node.id]}
            case "history":
                return {f"flops {node.stage}": self._of_history(node)}
            case "matrix":
                return {f"flops {node.stage}": self.extents.algebra.get(node.id, 0)}
            case "oracle" if node.op in ASKED:
                return {node.op: 1}
            case "oracle":
                return _sum(self.region(region) for region in node.regions)
            case "spectral":
                return self._spectral(node)
            case "control" if node.op == "if":
                return self._if(node)
            case "control" if node.op == "loop":
                return self._loop(node)
            case "control" if node.op == "stagger":
                # Each tensor has its turn once in so many steps.
                period = self.numbers.of(node.inputs[0])
                assert isinstance(period, int | float)
                return _times(1 / period, self.region(node.regions[0]))
            case "opaque" if node.op == "extern":
                self.uncounted[self.graph.stages[node.stage].label] = None
        return {}

    def _of_history(self, node: Node) -> float:
        """The operations of what reads a history: products with all that it keeps."""
        kept, made = self.extents.elements[node.inputs[0]], self._made(node.inputs[0])
        size = self.extents.places.get(made.id, 0) if made else 0
        products = made is not None and bool(made.get("products"))
        match node.op:
            case "push":
                return 2 * kept if products else 0
            case "inverse_fisher":
                # Two products and a solve; the products of all pairs where none are kept.
                return 4 * kept + (0 if products else 2 * kept * size) + size**3 / 3
            case "inverse_hessian":
                # In each of the two loops a product, a sum, and s'y.
                return 12 * kept
            case _:
                return 0

    def _made(self, id: int) -> Node | None:
        """What made a history before the first step, where it was only pushed since."""
        node = self.nodes[id]
        while node.op == "push":
            node = self.nodes[node.inputs[0]]
        return started(self.graph).get(int(node["name"])) if node.op == "state" else None

    def _operations(self, node: Node) -> int:
        """The operations of an op for each element. A whole power is a few products."""
        flops = OPS[node.op].flops
        if node.op == "pow" and (power := self._whole_literal(node.inputs[1])) is not None:
            times = abs(power)
            # By squaring, as JAX does; one over it where it is negative.
            products = max(times.bit_length() + times.bit_count() - 2, 0) + (power < 0)
            return min(products, flops)
        return flops

    def _if(self, node: Node) -> Tally:
        condition = node.inputs[0]
        known = self.numbers.of(condition)
        if known is not None:
            return self.region(node.regions[0 if known else 1])
        then, otherwise = node.regions
        condition = self._settled(condition)
        if isinstance(condition, bool):
            return self.region(then if condition else otherwise)
        batches = self._batches(self.nodes[condition])
        if batches is not None:
            due, waiting = self.region(then), self.region(otherwise)
            return _sum([_times(1 / batches, due), _times(1 - 1 / batches, waiting)])
        residue = self._residue(self.nodes[condition])
        if residue is not None and sum(not holds for _, holds in self.met) < MOST:
            return _sum([self._when(residue, True, then), self._when(residue, False, otherwise)])
        return self._dearer(self.region(then), self.region(otherwise))

    def _dearer(self, then: Tally, otherwise: Tally) -> Tally:
        """The most that one of two sides works, where it is not known which."""
        self.at_most = self.at_most or then != otherwise
        names = dict.fromkeys((*then, *otherwise))
        self.bounded |= {name for name in names if then.get(name, 0) != otherwise.get(name, 0)}
        return {name: max(then.get(name, 0), otherwise.get(name, 0)) for name in names}

    def _when(self, residue: Residue, holds: bool, region: Region) -> Tally:
        """What a region works at the steps that meet a condition, or do not, as an average."""
        outer = self.met
        self.met = (*outer, (residue, holds))
        part = share(self.met)
        found = _times(float(part / share(outer)), self.region(region)) if part else {}
        self.met = outer
        return found

    def _loop(self, node: Node) -> Tally:
        rounds = self.numbers.of(node.inputs[0])
        assert isinstance(rounds, int | float)
        body, *condition = (self.region(region) for region in node.regions)
        found = _times(rounds, body)
        for tally in condition:
            # It is met once more than there are rounds, if it ends none of them.
            found = _sum([found, _times(rounds + 1, tally)])
            self.at_most = True
            self.bounded |= found.keys()
        return found

    def _spectral(self, node: Node) -> Tally:
        """An operator is applied so many times; Lanczos' iteration also keeps fields orthogonal."""
        if node.op not in OPERATORS:
            return {}
        times = self.numbers.of(node.inputs[1])
        assert isinstance(times, int | float)
        times = 2 * times if node.op == "xtrace" else times
        size = self.extents.elements[node.inputs[0]]
        own = 8 * times**2 * size if node.op in KRYLOV else 2 * times * size
        inner = _sum(self.region(region) for region in node.regions)
        return _sum([_times(times, inner), {f"flops {node.stage}": own}])

    def _settled(self, id: int) -> int | bool:
        """What a condition is after the first step: always so, or the condition that is left."""
        node = self.nodes[id]
        if node.op in ("and", "or"):
            ends = node.op == "or"
            parts = [self._settled(i) for i in node.inputs]
            left = [part for part in parts if not isinstance(part, bool)]
            if any(part is ends for part in parts):
                return ends
            return id if len(left) > 1 else left[0] if left else not ends
        if node.op not in _LATE:
            return id
        more, bound = self._later(self.nodes[node.inputs[0]]), self._whole(node.inputs[1])
        compared = OPS[node.op].scalar
        if more is None or bound is None or compared is None or 2 + more < bound:
            return id
        second, late = compared(2 + more, bound), _LATE[node.op]
        return late if bool(second) is late else id

    def _residue(self, condition: Node) -> Residue | None:
        """The condition on `t` alone that a choice is made by, if it is one: `(t - 1) % n == 0`."""
        if condition.op != "eq" or self.nodes[condition.inputs[0]].op != "mod":
            return None
        count, divisor = self.nodes[condition.inputs[0]].inputs
        period, rest = self._whole(divisor), self._whole(condition.inputs[1])
        later = self._later(self.nodes[count])
        if period is None or rest is None or later is None or not 0 <= rest < period:
            return None
        return Residue(period, (rest - later) % period)

    def _later(self, node: Node) -> int | None:
        """How much a number is larger than `t`, if it always is by as much."""
        if node.op == "input" and node["name"] == "t":
            return 0
        if node.op not in ("add", "sub") or self.nodes[node.inputs[0]].op != "input":
            return None
        count, by = self._later(self.nodes[node.inputs[0]]), self._whole(node.inputs[1])
        return None if count is None or by is None else count + (by if node.op == "add" else -by)

    def _whole(self, id: int) -> int | None:
        """The value of a node that is a whole number without data."""
        value = self.numbers.of(id)
        return int(value) if isinstance(value, int | float) and value % 1 == 0 else None

    def _whole_literal(self, id: int) -> int | None:
        return self._whole(id) if self.nodes[id].op == "const" else None

    def _batches(self, condition: Node) -> int | None:
        """Of how many calls one is due, for the condition of `accumulate`."""
        if condition.op != "ge" or not self._counts_batches(self.nodes[condition.inputs[0]]):
            return None
        return self._whole(condition.inputs[1])

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
