"""Take scalars out of products of matrices: `(c * a) @ b` is `c * (a @ b)`.

`(1 - b2) * g @ g.T` multiplies a copy of `g` as it is written. Behind the product the scalar is
part of the arithmetic that reads it, and no copy is made.

Needs: a verified graph. Guarantees: the same values up to one rounding for each scalar, where no
product leaves the range of floats. A scalar goes out only where arithmetic alone reads what it then
scales.
"""

from collections import defaultdict
from collections.abc import Mapping
from itertools import count

from ..graph import Graph, Node, Region, index, walk
from ..ops import OPS
from .dead_code import dead_code
from .rewrite import over_regions, with_regions


def outside(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    if not any(node.op == "matmul" for node in nodes.values()):
        return graph
    users: dict[int, list[Node | None]] = defaultdict(list)
    for node in nodes.values():
        for i in node.inputs:
            users[i].append(node)
    inner = [r for region in graph.regions() for node in walk(region) for r in node.regions]
    for region in (*graph.regions(), *inner):
        for i in region.results:
            users[i].append(None)
    return dead_code(over_regions(graph, _Leaving(nodes, users).region))


class _Leaving:
    def __init__(self, nodes: Mapping[int, Node], users: Mapping[int, list[Node | None]]) -> None:
        self._nodes = dict(nodes)
        self._users = users
        self._ids = count(max(nodes) + 1)

    def region(self, region: Region) -> Region:
        kept: list[Node] = []
        for node in region.nodes:
            node = with_regions(node, map(self.region, node.regions))
            kept += self._left(node) if node.op == "matmul" and self._is_free(node.id) else [node]
        return region.model_copy(update={"nodes": tuple(kept)})

    def _left(self, node: Node) -> list[Node]:
        """A product, and what its operands were scaled by; the last has its id."""
        inputs: list[int] = []
        scales: list[tuple[str, int]] = []
        for id in node.inputs:
            while (scale := self._scale(self._nodes[id])) is not None:
                scales.append(scale[:2])
                id = scale[2]
            inputs.append(id)
        if not scales:
            return [node]
        product = {"id": next(self._ids), "inputs": tuple(inputs), "name": None}
        made = [node.model_copy(update=product)]
        for op, scalar in scales:
            scaled = {"id": next(self._ids), "op": op, "inputs": (made[-1].id, scalar)}
            made.append(node.model_copy(update={**scaled, "attributes": (), "name": None}))
        made[-1] = made[-1].model_copy(update={"id": node.id, "name": node.name})
        self._nodes |= {each.id: each for each in made}
        return made

    def _scale(self, node: Node) -> tuple[str, int, int] | None:
        """How a matrix is scaled, by which scalar, and which; None for one that is not."""
        if node.op not in ("mul", "div") or not node.type.is_field:
            return None
        one, other = node.inputs
        if self._nodes[other].type.is_scalar:
            return node.op, other, one
        if node.op == "mul" and self._nodes[one].type.is_scalar:
            return node.op, one, other
        return None

    def _is_free(self, id: int) -> bool:
        """Whether only arithmetic reads a product, at once or behind further products."""
        return all(
            user is not None
            and user.type.is_field
            and (
                self._is_free(user.id)
                if user.op == "matmul"
                else OPS[user.op].op_class == "elementwise"
            )
            for user in self._users[id]
        )
