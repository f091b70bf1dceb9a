"""Ask whether all numbers of a field are finite by the largest of them, which stores nothing.

XLA on a CPU stores what `isfinite` says of each number before it asks whether all are true. It
makes absolute values while it looks for the largest, which is NaN where any is.

Needs: a verified graph. Guarantees: the same answer.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from ..graph import Graph, Node, Region, index
from ..types import SCALAR
from .rewrite import over_regions, with_regions


def finite(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    new = count(max(nodes, default=0) + 1)
    made: dict[int, list[Node]] = {}
    for node in nodes.values():
        if node.op == "all":
            each = nodes[node.inputs[0]]
            if each.op == "isfinite" and each.type.is_field:
                made[node.id] = _by_the_largest(node, each, new)

    def change(region: Region) -> Region:
        return region.model_copy(update={"nodes": tuple(changed(region))})

    def changed(region: Region) -> Iterator[Node]:
        for node in region.nodes:
            inner = [change(each) for each in node.regions]
            yield from made.get(node.id) or [with_regions(node, inner)]

    return over_regions(graph, change) if made else graph


def _by_the_largest(ask: Node, each: Node, new: Iterator[int]) -> list[Node]:
    """What stands in place of `all(isfinite(x))`, whose id it has."""
    size = each.model_copy(
        update={
            "id": next(new),
            "op": "abs",
            "type": replace(each.type, dtype="float"),
            "name": None,
        }
    )
    largest = ask.model_copy(
        update={
            "id": next(new),
            "op": "largest",
            "inputs": (size.id,),
            "type": SCALAR,
            "name": "largest",
        }
    )
    limit = Node(
        id=next(new),
        op="const",
        inputs=(),
        type=replace(SCALAR, static=True),
        attributes=(("value", float("inf")),),
        stage=ask.stage,
    )
    verdict = ask.model_copy(update={"op": "lt", "inputs": (largest.id, limit.id)})
    return [size, largest, limit, verdict]
