"""Drop what no result needs, also results of branches that nobody reads.

Needs: a verified graph. Guarantees: the results are what they were, and every node that stays
is needed by one of them.
"""

from ..graph import Graph, Node, Region, walk
from .rewrite import over_regions


def dead_code(graph: Graph) -> Graph:
    """See the module's docstring."""
    return over_regions(graph, _clean)


def _clean(region: Region) -> Region:
    while True:
        cleaned = _drop(region, _needed(region))
        if cleaned == region:
            return region
        region = cleaned


def _needed(region: Region) -> set[int]:
    nodes = {node.id: node for node in walk(region)}
    needed: set[int] = set()
    todo = list(region.results)
    while todo:
        id = todo.pop()
        if id in needed:
            continue
        needed.add(id)
        node = nodes[id]
        todo.extend(node.inputs)
        for inner in node.regions:
            todo.extend(inner.results)
    return needed


def _drop(region: Region, needed: set[int]) -> Region:
    kept = [node for node in region.nodes if node.id in needed or node.id in region.arguments]
    read: dict[int, list[int]] = {}
    for node in kept:
        if node.op == "item":
            read.setdefault(node.inputs[0], []).append(int(node["index"]))
    read = {id: sorted(set(places)) for id, places in read.items()}
    branches = {node.id for node in kept if node.op == "if"}
    nodes = []
    for node in kept:
        if node.op == "item" and node.inputs[0] in branches:
            node = _renumbered(node, read[node.inputs[0]])
        elif node.regions:
            node = _trimmed(node, read.get(node.id, []), needed)
        nodes.append(node)
    return region.model_copy(update={"nodes": tuple(nodes)})


def _renumbered(item: Node, read: list[int]) -> Node:
    place = read.index(int(item["index"]))
    return item.model_copy(update={"attributes": (("index", place),)})


def _trimmed(node: Node, read: list[int], needed: set[int]) -> Node:
    """A branch without the results that nobody reads; a loop keeps what it carries."""
    regions = [_drop(r, needed) for r in node.regions]
    if node.op == "if":
        regions = [
            r.model_copy(update={"results": tuple(r.results[i] for i in read)}) if r.results else r
            for r in regions
        ]
    return node.model_copy(update={"regions": tuple(regions)})
