"""Scalars of a graph that are known without data: at one step, for one tensor."""

from collections.abc import Mapping, Sequence

from ..constants import apply
from ..graph import Node
from ..ops import OPS, knots
from ..records import Scalar


class Numbers:
    """Values of scalars, and of fields with one number for each tensor; None for what data decides.

    `values` are those of the hyperparameters, and `t` that of the step. `shape` and `member` are
    those of a tensor, by the domain: without them nothing is known of fields.
    """

    def __init__(
        self,
        nodes: Mapping[int, Node],
        values: Mapping[str, Scalar],
        t: int | None = None,
        shapes: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        self.nodes = nodes
        self.values = values
        self.t = t
        self.shapes = shapes or {}
        self._known: dict[int, Scalar | None] = {}

    def of(self, id: int) -> Scalar | None:
        """The value of a node."""
        if id not in self._known:
            self._known[id] = self._value(self.nodes[id]) if id in self.nodes else None
        return self._known[id]

    def _value(self, node: Node) -> Scalar | None:
        if node.type.is_field and node.type.per not in ("tensor", "element"):
            return None
        match node.op:
            case "const":
                return node["value"]
            case "parameter":
                return self.values.get(str(node["name"]))
            case "input":
                return self.t if node["name"] == "t" else None
            case "extent":
                shape = self.shapes.get(node.type.domain)
                return None if shape is None else float(shape[int(node["axis"])])
            case "rank_as" | "copy" | "restrict":
                return self.of(node.inputs[0])
            case "full":
                return self.of(node.inputs[1])
            case "zeros" | "ones":
                return float(node.op == "ones")
            case "merge":
                return self.of(node.inputs[0 if int(node["domain"]) in self.shapes else 1])
            case "where":
                chosen = self.of(node.inputs[0])
                return None if chosen is None else self.of(node.inputs[1 if chosen else 2])
            case "if":
                return None
            case "item":
                return self._item(self.nodes[node.inputs[0]], int(node["index"]))
            case "interpolate":
                x = self.of(node.inputs[0])
                return None if x is None else _interpolated(knots(node), float(x))
            case "clamp":
                x, low, high = (self.of(i) for i in node.inputs)
                if x is None or low is None or high is None:
                    return None
                return min(max(float(x), float(low)), float(high))
        return self._applied(node)

    def _applied(self, node: Node) -> Scalar | None:
        op = OPS[node.op]
        if op.op_class != "elementwise" or op.scalar is None:
            return None
        operands = [self.of(i) for i in node.inputs]
        known = [x for x in operands if x is not None]
        return apply(op.scalar, *known) if len(known) == len(operands) else None

    def _item(self, source: Node, place: int) -> Scalar | None:
        """A result of a choice whose condition is known."""
        if source.op != "if":
            return None
        chosen = self.of(source.inputs[0])
        return (
            None if chosen is None else self.of(source.regions[0 if chosen else 1].results[place])
        )


def _interpolated(points: Sequence[tuple[float, float]], x: float) -> float:
    (x0, y0), *others = points
    if x <= x0:
        return y0
    for x1, y1 in others:
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        x0, y0 = x1, y1
    return y0
