"""The graph as a networkx graph, for whoever asks it for paths, ancestors or a drawing.

The view is a MultiDiGraph with ports: two edges for `mul(g, g)`. A node with regions depends on
what its regions use from outside, and what its regions define stands inside it (`within`).
"""

import networkx as nx

from .graph import Graph, Region, walk


def view(graph: Graph) -> "nx.MultiDiGraph[int]":
    """All nodes of all regions; edges run from inputs to users and carry the input's `port`."""
    result: nx.MultiDiGraph[int] = nx.MultiDiGraph(name=graph.name)
    for region in graph.regions():
        _add(result, region, None)
    return result


def _add(result: "nx.MultiDiGraph[int]", region: Region, within: int | None) -> None:
    for node in region.nodes:
        result.add_node(node.id, op=node.op, label=node.name or node.op, within=within)
        for port, source in enumerate(node.inputs):
            result.add_edge(source, node.id, port=port)
        for inner in node.regions:
            _add(result, inner, node.id)
            own = {n.id for n in walk(inner)} | set(inner.arguments)
            for used in walk(inner):
                for source in used.inputs:
                    if source not in own:
                        result.add_edge(source, node.id, port=-1)
