"""Recognise curvatures along a direction: `dot(u, hvp(u))` needs no Hessian product.

Needs: equal values merged. Guarantees: the same number up to rounding; the product is dropped
when nothing else uses it. The second derivative of s -> loss(w + s u) is taken forward over
forward instead, which makes no vector: with the gradient it is 2.36 gradients of operations on a
transformer, where gradient and Hessian product are 3.01 or more (docs/performance-xla.md).
`dot(u, ggn(u))` is the second derivative of the loss in the outputs along what `u` does to those,
and needs no way back through the model.
"""

from collections import Counter

from ..graph import Graph, Node, Region, reads, walk
from .rewrite import over_regions, with_regions

SCALARS = {"hvp": "curvature", "ggn": "ggn_curvature"}
"""For each product with a vector the number u' times it, for the vector u."""


def curvature(graph: Graph) -> Graph:
    """See the module's docstring."""
    return over_regions(graph, _recognise_all)


def _recognise_all(region: Region) -> Region:
    nodes = {node.id: node for node in walk(region)}
    return _recognise(region, nodes, reads([region]))


def _recognise(region: Region, nodes: dict[int, Node], uses: "Counter[int]") -> Region:
    changed = []
    for node in region.nodes:
        inner = (_recognise(r, nodes, uses) for r in node.regions)
        changed.append(_curvature(with_regions(node, inner), nodes, uses))
    return region.model_copy(update={"nodes": tuple(changed)})


def _curvature(node: Node, nodes: dict[int, Node], uses: "Counter[int]") -> Node:
    if node.op != "dot" or node.get("per") is not None:
        return node
    for direction, product in (node.inputs, node.inputs[::-1]):
        times = nodes[product]
        if times.op in SCALARS and times.inputs[1] == direction and uses[product] == 1:
            return node.model_copy(update={"op": SCALARS[times.op], "inputs": times.inputs})
    return node
