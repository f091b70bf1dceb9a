"""The rate and the decay of a tensor: the lines that say them, and their values at the first step.

A value is known where no data decide it. A decay is the factor of the weights in what its stage
adds to the signal, found by following the stage's arithmetic as far as it is linear.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph, Node, index
from ..records import Scalar, Stage
from .members import Members, Row
from .numbers import Numbers

Linear = dict[int, float]
"""A field as a sum of nodes, each times a number."""


@dataclass(frozen=True, slots=True)
class Said:
    """A line as it is written, its stage, and the number that it comes to at t = 1 if known."""

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
        self._known: dict[object, tuple[Said | None, tuple[Said, ...]]] = {}

    def of(self, row: Row) -> tuple[Said | None, tuple[Said, ...]]:
        """The rate of a tensor (None for one in no group) and its decays."""
        key = (row.tensor.shape, row.member)
        if key not in self._known:
            self._known[key] = self._said(row)
        return self._known[key]

    def _said(self, row: Row) -> tuple[Said | None, tuple[Said, ...]]:
        inside = [n for n, member in enumerate(row.member) if member]
        shapes = {n: self.members.shape(n, row.tensor) for n in inside}
        numbers = Numbers(self.nodes, self.values, 1, shapes)
        rate: Said | None = None
        decays = []
        for place, stage in enumerate(self.graph.stages):
            kind = stage.label.rpartition(".")[2].partition("_")[0]
            if not row.member[stage.domain]:
                continue
            if kind == "tune":
                eta = self._eta(place)
                value = None if eta is None else _float(numbers.of(eta))
                rate = Said(stage.label, _words(stage, "tune step"), value)
            elif kind == "decay":
                factor = self._factor(place, numbers)
                decays.append(Said(stage.label, _words(stage, "decay"), factor))
        return rate, tuple(decays)

    def _by_stage(self) -> dict[int, list[Node]]:
        own: dict[int, list[Node]] = {}
        for node in self.nodes.values():
            own.setdefault(node.stage, []).append(node)
        return own

    def _eta(self, place: int) -> int | None:
        """What a `tune step` multiplies the direction with; None for a transformation of optax."""
        steps = [n for n in self._own.get(place, []) if n.op == "mul" and n.name == "step"]
        return steps[-1].inputs[0] if steps else None

    def _factor(self, place: int, numbers: Numbers) -> float | None:
        """How much of the weights a decay adds to the signal."""
        own = {node.id for node in self._own.get(place, [])}
        used = {i for node in self._own.get(place, []) for i in node.inputs}
        fields = [i for i in own - used if self.nodes[i].type.is_field]
        if len(fields) != 1:
            return None
        found = _Linear(self.nodes, own, numbers).of(fields[0])
        if found is None:
            return None
        weights = [i for i in found if self._is_weights(i)]
        others = [number for i, number in found.items() if i not in weights and number]
        return sum(found[i] for i in weights) if others == [1.0] else None

    def _is_weights(self, id: int) -> bool:
        node = self.nodes[id]
        if node.op == "input":
            return node["name"] == "w"
        return node.op in ("view", "restrict") and self._is_weights(node.inputs[0])


class _Linear:
    """Fields as sums of what stands outside a stage."""

    def __init__(self, nodes: Mapping[int, Node], own: set[int], numbers: Numbers) -> None:
        self.nodes = nodes
        self.own = own
        self.numbers = numbers

    def of(self, id: int) -> Linear | None:
        """The sum that a node is, or None where it is none."""
        node = self.nodes[id]
        if id not in self.own or node.op in ("input", "view"):
            return {id: 1.0}
        match node.op:
            case "add" | "sub":
                left, right = (self.of(i) for i in node.inputs)
                sign = 1.0 if node.op == "add" else -1.0
                if left is None or right is None:
                    return None
                ids = left.keys() | right.keys()
                return {i: left.get(i, 0.0) + sign * right.get(i, 0.0) for i in ids}
            case "neg":
                return _scaled(self.of(node.inputs[0]), -1.0)
            case "mul":
                left_number, right_number = (self.numbers.of(i) for i in node.inputs)
                if left_number is not None:
                    return _scaled(self.of(node.inputs[1]), float(left_number))
                if right_number is not None:
                    return _scaled(self.of(node.inputs[0]), float(right_number))
                return None
            case "div":
                number = self.numbers.of(node.inputs[1])
                return _scaled(self.of(node.inputs[0]), 1 / float(number)) if number else None
            case "merge":
                inside = int(node["domain"]) in self.numbers.shapes
                return self.of(node.inputs[0 if inside else 1])
            case "restrict" | "copy" | "unview":
                return self.of(node.inputs[0])
        return None


def _scaled(linear: Linear | None, factor: float) -> Linear | None:
    return None if linear is None else {i: factor * number for i, number in linear.items()}


def _words(stage: Stage, kind: str) -> str:
    """What a line says behind its kind, without `where`."""
    text = stage.text.removeprefix(kind).strip()
    return text.partition(" where ")[0]


def _float(value: Scalar | None) -> float | None:
    return None if value is None or isinstance(value, str) else float(value)
