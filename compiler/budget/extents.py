"""The shape of each value of a graph, for tensors of each sort that a tree has.

A type says what one number stands for, but arithmetic between numbers for rows and numbers for
matrices has the type of a whole field and the size of its rows. So shapes are followed through
the graph, as broadcasting makes them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from ..graph import Graph, Node, walk
from ..lengths import parsed
from ..ops import OPS
from ..parts import shape_of_parts
from . import algebra
from .members import Members, Row
from .numbers import Numbers
from .places import places

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Extents:
    """How many numbers values have over all tensors.

    `elements` has each value that is a field or a history, and `reduced` for each reduction what
    it goes over. `algebra` has the operations of each matrix op, and `kept` the shapes of what
    staggered work changes, by its node and a tensor's sort.
    `slots` has the shapes of the slots of fields and histories, by their number and a tensor's
    sort, and `places` the size of each history, by the node that makes it.
    """

    elements: Counter[int] = field(default_factory=Counter)
    reduced: Counter[int] = field(default_factory=Counter)
    algebra: dict[int, float] = field(default_factory=dict)
    kept: dict[tuple[int, int], tuple[Shape, ...]] = field(default_factory=dict)
    slots: dict[tuple[int, int], Shape] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)


def extents(graph: Graph, members: Members) -> Extents:
    """The sizes of all values of `start` and `step`."""
    found = Extents(places=places(graph, members.values))
    nodes = [*walk(graph.start), *walk(graph.step)]
    known = {node.id: node for node in nodes}
    numbers = Numbers(nodes, members.values)
    for sort, row in members.sorts.items():
        count = members.counts[sort]
        shapes = _Shapes(graph, members, row, known, found.places)
        for node in nodes:
            shape = shapes.add(node)
            if shape is not None:
                found.elements[node.id] += count * prod(shape)
            if OPS[node.op].op_class == "reduction":
                over = shapes.reduced(node)
                found.reduced[node.id] += 0 if over is None else count * prod(over)
            if node.op == "stagger" and (kept := shapes.inputs(node)):
                found.kept[node.id, sort] = tuple(kept)
            if OPS[node.op].op_class == "matrix" and shape is not None:
                given = [numbers.of(i) for i in node.inputs]
                flops = count * algebra.flops(node, shapes.inputs(node), given)
                found.algebra[node.id] = found.algebra.get(node.id, 0) + flops
        for number, shape in shapes.slots().items():
            found.slots[number, sort] = shape
    return found


_KINDS = ("field", "history")


def _named(node: Node) -> list[str]:
    """The hyperparameters that are lengths of a new matrix."""
    return [name for name in parsed(str(node.get("lengths") or "")) if isinstance(name, str)]


class _Shapes:
    """The shapes of fields for one tensor; None where a field does not have the tensor."""

    def __init__(
        self,
        graph: Graph,
        members: Members,
        row: Row,
        nodes: Mapping[int, Node],
        places: Mapping[int, int],
    ) -> None:
        self.graph = graph
        self.members = members
        self.row = row
        self.nodes = nodes
        self.places = places
        self.known: dict[int, Shape | None] = {}

    def add(self, node: Node) -> Shape | None:
        """The shape of a value, whose inputs are known; None for what is no field here."""
        if node.op == "loop":
            carried = node.inputs[1:]
            for region in node.regions:
                own = region.arguments[len(region.arguments) - len(carried) :]
                self.known |= {i: self.known.get(c) for i, c in zip(own, carried, strict=True)}
        if node.op == "argument" and node.id in self.known:
            return self.known[node.id]
        inside = node.type.kind in _KINDS and self.row.member[node.type.domain]
        self.known[node.id] = self._shape(node) if inside else None
        return self.known[node.id]

    def reduced(self, node: Node) -> Shape | None:
        """What a reduction goes over."""
        if node.type.is_field and not self.row.member[node.type.domain]:
            return None
        return self._joined(node)

    def inputs(self, node: Node) -> list[Shape]:
        """The shapes of the fields that a value is made of."""
        return [shape for i in node.inputs if (shape := self.known.get(i)) is not None]

    def slots(self) -> dict[int, Shape]:
        """The shapes of the slots that the start makes."""
        pairs = enumerate(self.graph.start.results)
        found = {number: self._slot(number, self.known.get(id)) for number, id in pairs}
        return {number: shape for number, shape in found.items() if shape is not None}

    def _slot(self, number: int, made: Shape | None) -> Shape | None:
        """A slot is on the tensors of its own domain."""
        type = self.graph.slots[number].type
        return made if type.kind in _KINDS and self.row.member[type.domain] else None

    def _shape(self, node: Node) -> Shape:
        whole = self.members.shape(node.type.domain, self.row.tensor)
        match node.op:
            case "extent" | "rank_as":
                return (1,) * len(self._of(node.inputs[-1], whole))
            case "merge":
                chosen = self.row.member[int(node["domain"])]
                return self._of(node.inputs[0 if chosen else 1], whole)
            case "state":
                return self._of(self.graph.start.results[int(node["name"])], whole)
            case "item":
                source, place = self.nodes[node.inputs[0]], int(node["index"])
                if source.op == "loop":
                    return self._of(source.inputs[1 + place], whole)
                if source.op == "stagger":
                    return self._of(source.inputs[2 + place], whole)
                if source.op == "if":
                    return self._of(source.regions[0].results[place], whole)
                return whole
            case "nans" | "feature_alignment":
                return (1,) * len(whole)
            case "measured":
                return shape_of_parts(whole, node["per"])
            case "view" | "unview" | "blocks" | "unblocks":
                return whole
            case "history":
                return (self.places.get(node.id, 0), *whole)
            case "push":
                return self._of(node.inputs[0], whole)
        match OPS[node.op].op_class:
            case "elementwise" | "fill" | "random":
                joined = self._joined(node)
                return whole if joined is None else joined
            case "matrix":
                fields = self.inputs(node)
                named = [self.members.values[name] for name in _named(node)]
                return algebra.shape(node, fields, [int(value) for value in named])
            case "reduction":
                joined = self._joined(node)
                return shape_of_parts(whole if joined is None else joined, node["per"])
            case _:
                return whole

    def _of(self, id: int, whole: Shape) -> Shape:
        """The shape of a value, `whole` for one that is no field."""
        shape = self.known.get(id)
        return whole if shape is None else shape

    def _joined(self, node: Node) -> Shape | None:
        """The shapes of the inputs, broadcast; None where there is no field among them."""
        shapes = self.inputs(node)
        if not shapes:
            return None
        return tuple(
            max(lengths) if 0 not in lengths else 0 for lengths in zip(*shapes, strict=True)
        )
