"""Fold what is known: operations on literals, and operations that change nothing.

Needs: a verified graph. Guarantees: every value stays what it was, bit for bit in float64 but
for the sign of a zero sum; `x + -1 * y` becomes `x - y`. Of a choice that is known only the chosen
value is left, spread over a tensor where nothing else spreads it. Never folds where the result
could differ for NaN or infinity (`0 * x` stays), and leaves a literal sum alone whose digits would
hide where it comes from: `1 - 0.9` reads better than `0.09999999999999998`, and Python works it out
once.
"""

from ..constants import apply
from ..graph import Graph, Node, Region
from ..ops import OPS
from ..records import Scalar
from ..types import dynamic, join
from .rewrite import Replaced, over_regions, renamed, with_regions, with_results

_LONGEST = 12


def fold(graph: Graph) -> Graph:
    """See the module's docstring."""
    return over_regions(graph, lambda region: _Folder().region(region))


class _Folder:
    def __init__(self) -> None:
        self.known: dict[int, Scalar] = {}
        self.nodes: dict[int, Node] = {}
        self.replaced: Replaced = {}
        self.narrow: dict[int, int] = {}

    def region(self, region: Region) -> Region:
        kept = []
        for node in region.nodes:
            folded = self._node(self._narrowed(renamed(node, self.replaced)))
            if folded is not None:
                kept.append(folded)
                self.nodes[folded.id] = folded
        return with_results(region, kept, self.replaced)

    def _node(self, node: Node) -> Node | None:
        """The node as it stays, or None when another value takes its place."""
        if node.op == "const":
            self.known[node.id] = node["value"]
            return node
        if node.regions:
            return with_regions(node, [self.region(r) for r in node.regions])
        if (value := self._value(node)) is not None:
            self.known[node.id] = value
            return _literal(node, value)
        same = self._same(node)
        if same in self.known and node.type.is_scalar:
            self.known[node.id] = self.known[same]
            return _literal(node, self.known[same])
        if same is not None and dynamic(self.nodes[same].type) == dynamic(node.type):
            self.replaced[node.id] = same
            return None
        if node.op == "where" and same is not None:
            return self._chosen(node, same)
        return self._without_minus_one(node)

    def _chosen(self, node: Node, choice: int) -> Node:
        """A choice that is known, of a value with a narrower type."""
        if node.type.is_scalar and node.type.dtype == "float":
            return node.model_copy(update={"op": "float", "inputs": (choice,)})
        self.narrow[node.id] = choice
        return node

    def _narrowed(self, node: Node) -> Node:
        """The node on what was chosen, where its other inputs have the tensors that it gives."""
        if OPS[node.op].op_class != "elementwise":
            return node
        inputs = node.inputs
        for id in dict.fromkeys(i for i in inputs if i in self.narrow):
            fewer = tuple(self.narrow[id] if i == id else i for i in inputs)
            types = tuple(self.nodes[i].type for i in fewer)
            if join(types, node.type.dtype, node.type.domain) == node.type:
                inputs = fewer
        return node if inputs == node.inputs else node.model_copy(update={"inputs": inputs})

    def _value(self, node: Node) -> Scalar | None:
        meaning = OPS[node.op].scalar
        operands = [self.known[i] for i in node.inputs if i in self.known]
        if meaning is None or not node.type.is_scalar or len(operands) != len(node.inputs):
            return None
        value = apply(meaning, *operands)
        return value if value is not None and len(repr(value)) <= _LONGEST else None

    def _same(self, node: Node) -> int | None:
        """The input that the node is equal to, if its op changes nothing."""
        known = [self.known.get(i) for i in node.inputs]
        match node.op, node.inputs, known:
            case ("add", (x, _), (_, 0)) | ("sub", (x, _), (_, 0)) | ("add", (_, x), (0, _)):
                return x
            case ("mul", (x, _), (_, 1)) | ("mul", (_, x), (1, _)) | ("div", (x, _), (_, 1)):
                return x
            case "pow", (x, _), (_, 1):
                return x
            case ("neg" | "transpose") as op, (x,), _ if self._op(x) == op:
                return self.nodes[x].inputs[0]
            case "where", (_, x, y), (choice, _, _) if choice is not None or x == y:
                return x if choice or x == y else y
            case ("min", (x, y), _) | ("max", (x, y), _) if x == y:
                return x
            case _:
                return None

    def _without_minus_one(self, node: Node) -> Node:
        """`x + -1 * y` as `x - y`, and `x - -1 * y` as `x + y`: the same sum, exactly."""
        match node.op, node.inputs, [self._negated(i) for i in node.inputs]:
            case ("add", (x, _), (_, int(y))) | ("add", (_, x), (int(y), _)):
                return node.model_copy(update={"op": "sub", "inputs": (x, y)})
            case "sub", (x, _), (_, int(y)):
                return node.model_copy(update={"op": "add", "inputs": (x, y)})
            case _:
                return node

    def _negated(self, id: int) -> int | None:
        """What a value is minus one times of."""
        node = self.nodes.get(id)
        if node is None or node.op != "mul":
            return None
        one, other = node.inputs
        for sign, value in ((one, other), (other, one)):
            if self.known.get(sign) == -1 and self.nodes[value].type == node.type:
                return value
        return None

    def _op(self, id: int) -> str:
        node = self.nodes.get(id)
        return node.op if node else ""


def _literal(node: Node, value: Scalar) -> Node:
    if node.type.dtype == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return Node(
        id=node.id,
        op="const",
        inputs=(),
        type=node.type,
        attributes=(("value", value),),
        stage=node.stage,
        name=node.name,
    )
