"""Scalars of a graph that are known without data: at one step, for one tensor."""

from collections.abc import Iterable, Mapping

from ..constants import apply, interpolated
from ..graph import Node
from ..ops import OPS, knots
from ..records import Scalar


class Numbers:
    """Values of scalars, and of fields with one number for each tensor; None for what data decide.

    `nodes` are all that may be asked for, each behind what it needs. `values` are those of the
    hyperparameters, `t` that of the step, and `shapes` those of a tensor in each domain that it
    belongs to: without them nothing is known of fields.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        values: Mapping[str, Scalar],
        t: int | None = None,
        shapes: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        self.values = values
        self.t = t
        self.shapes = shapes or {}
        self._known: dict[int, Scalar | None] = {}
        self._choices: dict[int, Node] = {}
        for node in nodes:
            # In order and not by need, which could be deeper than Python's stack.
            self._known[node.id] = self._value(node)
            if node.op == "if":
                self._choices[node.id] = node

    def of(self, id: int) -> Scalar | None:
        """The value of a node."""
        return self._known.get(id)

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
            case "item":
                return self._item(node)
            case "interpolate":
                x = self.of(node.inputs[0])
                return None if x is None else interpolated(knots(node), float(x))
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

    def _item(self, node: Node) -> Scalar | None:
        """A result of a choice whose condition is known."""
        choice = self._choices.get(node.inputs[0])
        if choice is None:
            return None
        chosen = self.of(choice.inputs[0])
        if chosen is None:
            return None
        return self.of(choice.regions[0 if chosen else 1].results[int(node["index"])])
