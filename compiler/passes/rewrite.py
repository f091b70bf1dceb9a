"""What passes share: walking regions while values are replaced by others."""

from collections.abc import Callable, Iterable

from ..graph import Graph, Node, Region

Replaced = dict[int, int]


def renamed(node: Node, replaced: Replaced) -> Node:
    """The node with its inputs replaced."""
    inputs = tuple(replaced.get(i, i) for i in node.inputs)
    return node if inputs == node.inputs else node.model_copy(update={"inputs": inputs})


def with_regions(node: Node, regions: Iterable[Region]) -> Node:
    """The node with other regions."""
    regions = tuple(regions)
    return node if regions == node.regions else node.model_copy(update={"regions": regions})


def with_results(region: Region, nodes: Iterable[Node], replaced: Replaced) -> Region:
    """The region with other nodes, its results replaced."""
    return Region(
        arguments=region.arguments,
        nodes=tuple(nodes),
        results=tuple(replaced.get(i, i) for i in region.results),
    )


def over_regions(graph: Graph, change: Callable[[Region], Region]) -> Graph:
    """The graph with each top region changed."""
    evaluation = graph.evaluation and change(graph.evaluation)
    return graph.model_copy(
        update={
            "start": change(graph.start),
            "step": change(graph.step),
            "evaluation": evaluation,
        }
    )
