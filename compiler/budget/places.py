"""For how many fields each history has a place."""

from collections.abc import Mapping

from ..graph import Graph, Node, walk
from ..records import Scalar
from .numbers import Numbers


def places(graph: Graph, values: Mapping[str, Scalar]) -> dict[int, int]:
    """The sizes of histories by the ids of the nodes that make them, where values say them."""
    nodes = list(walk(graph.start))
    numbers = Numbers(nodes, values)
    made = ((node, numbers.of(node.inputs[1])) for node in nodes if node.op == "history")
    return {node.id: int(size) for node, size in made if isinstance(size, int | float)}


def started(graph: Graph) -> dict[int, Node]:
    """The nodes that make histories by the numbers of the slots that start with them."""
    nodes = {node.id: node for node in walk(graph.start)}
    starts = enumerate(graph.start.results)
    return {slot: nodes[id] for slot, id in starts if nodes[id].op == "history"}
