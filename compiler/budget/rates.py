"""The rate and the decay of a tensor: the lines that say them, and their values at the first step.

A value is known where no data decide it. A decay is the factor of the weights in what its stage
adds to the signal, found by following the stage's arithmetic as far as it is linear.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..graph import Graph, Node, index
from ..records import Scalar, Stage
from .members import Members, Row
from .numbers import Numbers

Linear = dict[int, float]
"""A field as a sum of nodes, each times a number."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line as it is written, its stage, and the number that it comes to at t = 1 if known.

    `place` is the number of the stage, in the order of the spec.
    """

    place: int
    stage: str
    text: str
    value: float | None


class Rates:
    """The rates and decays of tensors in a lowered graph, at some values of parameters."""

    def __init__(self, graph: Graph, members: Members, values: Mapping[str, Scalar]) -> None:
        self.graph = graph
        self.members = members
        self.values = values
        self.nodes = index(graph)
        self._own = self._by_stage()
        self._needed = self._ancestors()
        self._known: dict[int, tuple[Said | None, tuple[Said, ...]]] = {}

    def of(self, row: Row) -> tuple[Said | None, tuple[Said, ...]]:
        """The rate of a tensor (None for one in no group) and its decays."""
        if row.sort not in self._known:
            self._known[row.sort] = self._said(row)
        return self._known[row.sort]

    def _said(self, row: Row) -> tuple[Said | None, tuple[Said, ...]]:
        inside = [n for n, member in enumerate(row.member) if member]
        shapes = {n: self.members.shape(n, row.tensor) for n in inside}
        numbers = Numbers(self._needed, self.values, 1, shapes)
        rate: Said | None = None
        decays = []
        for place, stage in enumerate(self.graph.stages):
            if not row.member[stage.domain]:
                continue
            match _kind(stage):
                case "tune":
                    eta = self._eta(place)
                    value = None if eta is None else _float(numbers.of(eta))
                    rate = Said(place, stage.label, _words(stage, "tune step"), value)
                case "decay":
                    factor = self._factor(place, numbers)
                    decays.append(Said(place, stage.label, _words(stage, "decay"), factor))
        return rate, tuple(decays)

    def _by_stage(self) -> dict[int, list[Node]]:
        own: dict[int, list[Node]] = {}
        for node in self.nodes.values():
            own.setdefault(node.stage, []).append(node)
        return own

    def _ancestors(self) -> list[Node]:
        """What rates and decays are made of, in order."""
        wanted = {node.id for node in self.nodes.values() if _kind_at(self.graph, node) == "decay"}
        for place, stage in enumerate(self.graph.stages):
            eta = self._eta(place) if _kind(stage) == "tune" else None
            wanted |= set() if eta is None else {eta}
        found = []
        for node in reversed(list(self.nodes.values())):
            if node.id in wanted:
                # The nodes of a choice stand between it and what takes its results.
                sources = [self.nodes[i] for i in node.inputs] if node.op == "item" else []
                results = (i for s in sources for region in s.regions for i in region.results)
                wanted |= {*node.inputs, *results}
                found.append(node)
        return found[::-1]

    def _eta(self, place: int) -> int | None:
        """What a `tune step` multiplies the direction with; None for a transformation of optax."""
        steps = [n for n in self._own.get(place, []) if n.op == "mul" and n.name == "step"]
        return steps[-1].inputs[0] if steps else None

    def _factor(self, place: int, numbers: Numbers) -> float | None:
        """How much of the weights a decay adds to the signal."""
        own = self._own.get(place, [])
        # Where a group ends, all of its values come back from its view, behind its last stage.
        used = {i for node in own for i in node.inputs}
        own = [n for n in own if n.id in used or n.op not in _ARRANGING]
        used = {i for node in own for i in node.inputs}
        fields = [node.id for node in own if node.type.is_field and node.id not in used]
        found = _linear(own, numbers).get(fields[0]) if len(fields) == 1 else None
        if found is None:
            return None
        weights = {i for i in found if self._is_weights(i)}
        others = [number for i, number in found.items() if i not in weights and number]
        return sum(found[i] for i in weights) if others == [1.0] else None

    def _is_weights(self, id: int) -> bool:
        node = self.nodes[id]
        while node.op in ("view", "blocks", "restrict"):
            node = self.nodes[node.inputs[0]]
        return node.op == "input" and node["name"] == "w"


_ARRANGING = ("view", "unview", "blocks", "unblocks", "rank_as")


def _linear(own: Sequence[Node], numbers: Numbers) -> dict[int, Linear | None]:
    """The fields of a stage as sums of what stands outside of it; None for those that are none."""
    found: dict[int, Linear | None] = {}

    def of(id: int) -> Linear | None:
        return found.get(id, {id: 1.0})

    for node in own:
        found[node.id] = _sum(node, of, numbers)
    return found


def _sum(node: Node, of: Callable[[int], Linear | None], numbers: Numbers) -> Linear | None:
    match node.op:
        case "input" | "view" | "blocks":
            return {node.id: 1.0}
        case "add" | "sub":
            left, right = (of(i) for i in node.inputs)
            sign = 1.0 if node.op == "add" else -1.0
            if left is None or right is None:
                return None
            ids = dict.fromkeys((*left, *right))
            return {i: left.get(i, 0.0) + sign * right.get(i, 0.0) for i in ids}
        case "neg":
            return _scaled(of(node.inputs[0]), -1.0)
        case "mul":
            left_number, right_number = (_float(numbers.of(i)) for i in node.inputs)
            if left_number is not None:
                return _scaled(of(node.inputs[1]), left_number)
            return _scaled(of(node.inputs[0]), right_number)
        case "div":
            number = _float(numbers.of(node.inputs[1]))
            return _scaled(of(node.inputs[0]), 1 / number if number else None)
        case "merge":
            return of(node.inputs[0 if int(node["domain"]) in numbers.shapes else 1])
        case "restrict" | "copy":
            return of(node.inputs[0])
    return None


def _scaled(linear: Linear | None, factor: float | None) -> Linear | None:
    if linear is None or factor is None:
        return None
    return {i: factor * number for i, number in linear.items()}


def _kind(stage: Stage) -> str:
    """The kind of a stage, from its label: `hidden.decay_2`."""
    return stage.label.rpartition(".")[2].partition("_")[0]


def _kind_at(graph: Graph, node: Node) -> str | None:
    return _kind(graph.stages[node.stage]) if node.stage >= 0 else None


def _words(stage: Stage, kind: str) -> str:
    """What a line says behind its kind, without `where`."""
    text = stage.text.removeprefix(kind).strip()
    return text.partition(" where ")[0]


def _float(value: Scalar | None) -> float | None:
    return None if value is None or isinstance(value, str) else float(value)
