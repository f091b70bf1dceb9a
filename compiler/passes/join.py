"""Make choices by one condition one choice, in which what both ask is asked once.

Needs: a graph after `cse`, where equal conditions are one value. Guarantees: the same values, and
nothing is asked that was not. A choice joins an earlier one of its region, and so stands where that
one stood, with what it needs before it. It stays where it needs what the earlier one found, as a
step on a state does, and where its condition is known before the program runs.

Probes with the same `every 100` are such choices. Merging what they have in common is for `cse`.
"""

from collections.abc import Iterator

from ..graph import Graph, Node, Region, index
from ..plan import free_values
from .rewrite import over_regions, with_regions


def join(graph: Graph) -> Graph:
    """See the module's docstring."""
    static = {id for id, node in index(graph).items() if node.type.static}
    return over_regions(graph, lambda region: _joined(region, static))


def _joined(region: Region, static: set[int]) -> Region:
    kept: list[Node] = []
    by_condition: dict[int, int] = {}
    moved: dict[int, tuple[int, int]] = {}
    for node in region.nodes:
        node = with_regions(node, [_joined(inner, static) for inner in node.regions])
        if node.op == "item" and node.inputs[0] in moved:
            choice, before = moved[node.inputs[0]]
            place = int(node["index"]) + before
            node = node.model_copy(update={"inputs": (choice,), "attributes": (("index", place),)})
        if node.op != "if" or node.inputs[0] in static:
            kept.append(node)
            continue
        earlier = by_condition.get(node.inputs[0])
        place = next((i for i, other in enumerate(kept) if other.id == earlier), None)
        if place is None or (needed := _needed(node, kept[place:])) is None:
            by_condition[node.inputs[0]] = node.id
            kept.append(node)
            continue
        choice, after = kept[place], kept[place + 1 :]
        moved[node.id] = choice.id, len(choice.regions[0].results)
        kept[place:] = [
            *(other for other in after if other.id in needed),
            _both(choice, node),
            *(other for other in after if other.id not in needed),
        ]
    return region.model_copy(update={"nodes": tuple(kept)})


def _needed(node: Node, since: list[Node]) -> set[int] | None:
    """What a choice needs of all since an earlier one, or None where it needs that one itself."""
    found: set[int] = set()
    todo = list(_inputs(node))
    nodes = {other.id: other for other in since}
    while todo:
        id = todo.pop()
        if id in nodes and id not in found:
            found.add(id)
            todo += _inputs(nodes[id])
    return None if since[0].id in found else found


def _inputs(node: Node) -> Iterator[int]:
    yield from node.inputs
    for region in node.regions:
        yield from free_values(region)


def _both(one: Node, other: Node) -> Node:
    """The choice `one` with what the other makes too. It is of no line where they were of two."""
    joined = with_regions(one, map(_together, one.regions, other.regions))
    stage = one.stage if one.stage == other.stage else -1
    return joined.model_copy(update={"stage": stage})


def _together(one: Region, other: Region) -> Region:
    return Region(nodes=(*one.nodes, *other.nodes), results=(*one.results, *other.results))
