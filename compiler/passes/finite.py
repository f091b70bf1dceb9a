"""Ask whether all numbers of a field are finite by a sum, which stores nothing.

XLA on a CPU stores what `isfinite` says of each number before it asks whether all are true. It
makes `x - x` while it sums: 0 for what is finite, and NaN for all else. The largest number would do
as well, but XLA for CPU leaves NaN out where it looks for the largest of many.

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
                made[node.id] = _by_a_sum(node, each, new)

    def change(region: Region) -> Region:
        return region.model_copy(update={"nodes": tuple(changed(region))})

    def changed(region: Region) -> Iterator[Node]:
        for node in region.nodes:
            inner = [change(each) for each in node.regions]
            yield from made.get(node.id) or [with_regions(node, inner)]

    return over_regions(graph, change) if made else graph


def _by_a_sum(ask: Node, each: Node, new: Iterator[int]) -> list[Node]:
    """What stands in place of `all(isfinite(x))`, whose id it has."""
    (x,) = each.inputs
    nothing = each.model_copy(
        update={
            "id": next(new),
            "op": "sub",
            "inputs": (x, x),
            "type": replace(each.type, dtype="float"),
            "name": None,
        }
    )
    total = ask.model_copy(
        update={
            "id": next(new),
            "op": "sum",
            "inputs": (nothing.id,),
            "type": SCALAR,
            "name": "nothing",
        }
    )
    zero = Node(
        id=next(new),
        op="const",
        inputs=(),
        type=replace(SCALAR, static=True),
        attributes=(("value", 0.0),),
        stage=ask.stage,
    )
    verdict = ask.model_copy(update={"op": "eq", "inputs": (total.id, zero.id)})
    return [nothing, total, zero, verdict]
