"""Spell `k * x^2` as `(k * x) * x` where a norm of `x` squares it too.

XLA makes equal squares once. So Adam's second moment and `norm(g)` would have the square of the
gradient written for both, and read again for the norm, where each can make it as it reads `g`.

Needs: scalar factors at their places, and no later pass that moves them. Guarantees: the same
values but for one rounding in another place, unless `k * x` leaves the range of floats, and one
operation more for each further use of a square. A square that something else uses too stays, since
XLA would store it for that.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from ..graph import Graph, Node, Region, index, reads
from .dead_code import dead_code
from .rewrite import over_regions, with_regions


def squares(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    normed = {_itself(x, nodes) for node in nodes.values() for x in _squared(node)}
    squared = {id: _square(node, nodes, normed) for id, node in nodes.items()}
    products = {id: square for id, square in squared.items() if square is not None}
    scaled, uses = Counter(products.values()), reads(graph.regions())
    apart = {id for id, square in products.items() if scaled[square] == uses[square]}
    if not apart:
        return graph
    return dead_code(over_regions(graph, _Spelling(nodes, apart).region))


class _Spelling:
    def __init__(self, nodes: Mapping[int, Node], apart: set[int]) -> None:
        self.nodes = nodes
        self.apart = apart
        self.gone = {i for id in apart for i in nodes[id].inputs if nodes[i].type.is_field}
        self.next = max(nodes) + 1

    def region(self, region: Region) -> Region:
        made: list[Node] = []
        for node in region.nodes:
            if node.id in self.apart:
                made += self._apart(node)
            elif node.id not in self.gone:
                made.append(with_regions(node, map(self.region, node.regions)))
        return region.model_copy(update={"nodes": tuple(made)})

    def _apart(self, node: Node) -> Iterator[Node]:
        scalar, square = sorted(node.inputs, key=lambda i: self.nodes[i].type.is_field)
        x, id = self.nodes[square].inputs[0], self.next
        self.next += 1
        yield node.model_copy(update={"id": id, "inputs": (scalar, x), "name": None})
        yield node.model_copy(update={"inputs": (id, x)})


def _squared(node: Node) -> tuple[int, ...]:
    """What a node takes the sum of squares of."""
    alike = node.op == "dot" and node.inputs[0] == node.inputs[1]
    return node.inputs[:1] if node.op == "norm" or alike else ()


def _square(node: Node, nodes: Mapping[int, Node], normed: set[int]) -> int | None:
    """The square of what is `normed` that a node multiplies with a scalar, if it does."""
    if node.op != "mul" or not node.type.is_field:
        return None
    scalar, square = sorted(node.inputs, key=lambda i: nodes[i].type.is_field)
    if not nodes[scalar].type.is_scalar:
        return None
    x, *other = nodes[square].inputs or (square,)
    is_square = {
        "pow": other and nodes[other[0]].get("value") == 2,
        "mul": other == [x],
    }.get(nodes[square].op)
    return square if is_square and _itself(x, nodes) in normed else None


def _itself(id: int, nodes: Mapping[int, Node]) -> int:
    """The value that a part of the tensors is taken of."""
    while nodes[id].op == "restrict":
        id = nodes[id].inputs[0]
    return id
