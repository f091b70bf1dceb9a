"""Make choices by one condition one choice, in which what both ask is asked once.

Needs: a graph after `cse`, where equal conditions are one value. Guarantees: the same values, and
nothing is asked that was not. A choice joins an earlier one of its region, and so stands where that
one stood, with what it needs before it. It stays where it needs what the earlier one found, as a
step on a state does, where its condition is known before the program runs, and where there is
staggered work in it, which is of each tensor alone.

Probes with the same `every 100` are such choices. What they have in common is left to `cse`.
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
        if node.op == "item" and node.inputs[0] in moved:
            kept.append(_renumbered(node, *moved[node.inputs[0]]))
            continue
        node = with_regions(node, [_joined(inner, static) for inner in node.regions])
        turns = any(inner.op == "stagger" for r in node.regions for inner in r.nodes)
        if node.op != "if" or node.inputs[0] in static or turns:
            kept.append(node)
            continue
        earlier = by_condition.setdefault(node.inputs[0], node.id)
        at = next((i for i, other in enumerate(kept) if other.id == earlier), len(kept))
        needed = _needed(node, kept[at:])
        if needed is None:
            by_condition[node.inputs[0]] = node.id
            kept.append(node)
            continue
        after = kept[at + 1 :]
        first = [other for other in after if other.id in needed]
        rest = [other for other in after if other.id not in needed]
        choice = kept[at]
        moved[node.id] = choice.id, len(choice.regions[0].results)
        kept[at:] = [*first, _both(choice, node), *rest]
    return region.model_copy(update={"nodes": tuple(kept)})


def _renumbered(item: Node, choice: int, before: int) -> Node:
    """A result of a choice that joined another, behind so many of that one."""
    place = int(item["index"]) + before
    return item.model_copy(update={"inputs": (choice,), "attributes": (("index", place),)})


def _needed(node: Node, since: list[Node]) -> set[int] | None:
    """What a choice needs of all since an earlier one.

    None where it needs that one itself, or where there is none.
    """
    found: set[int] = set()
    todo = list(_inputs(node))
    nodes = {other.id: other for other in since}
    while todo:
        id = todo.pop()
        if id in nodes and id not in found:
            found.add(id)
            todo += _inputs(nodes[id])
    return None if not since or since[0].id in found else found


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
