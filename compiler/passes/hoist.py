"""Ask before a loop what every round of it would ask again: questions that no round changes.

Needs: a verified graph. Guarantees: the same values, and no question that was not asked. A question
leaves a loop with what it is made of and what is made of it alone, where the loop surely asks it:
the body of one without `while` that has a round whatever is bound (`repeat 3`, or a parameter that
is at least 1), the condition of one that has a round if it holds, and an operator. It never leaves
a choice, so `every 10` inside a loop pays as before. Random fields stay, each round drawing
another, and so does arithmetic that no question needs, which XLA moves by itself.
"""

from collections.abc import Iterator

from ..graph import Graph, Node, Region, index
from ..ops import OPERATORS, OPS
from ..plan import free_values
from .positive import Signs
from .rewrite import over_regions, with_regions

_FREE = ("elementwise", "reduction", "shape", "matrix", "local", "fill", "oracle")
"""Classes of ops whose values depend on their inputs alone."""


def hoist(graph: Graph) -> Graph:
    """See the module's docstring."""
    hoister = _Hoister(graph)
    return over_regions(graph, hoister.region)


class _Hoister:
    def __init__(self, graph: Graph) -> None:
        self.signs = Signs(graph)
        self.nodes = index(graph)

    def region(self, region: Region) -> Region:
        """The region with what leaves its loops before them; inner loops come first."""
        kept: list[Node] = []
        for node in region.nodes:
            node = with_regions(node, [self.region(inner) for inner in node.regions])
            if self._runs(node):
                surely, moved = _surely_run(node), []
                regions = list(node.regions)
                for place in surely:
                    leaving = _leaving(regions[place])
                    moved += [n for n in regions[place].nodes if n.id in leaving]
                    staying = tuple(n for n in regions[place].nodes if n.id not in leaving)
                    regions[place] = regions[place].model_copy(update={"nodes": staying})
                kept += moved
                node = with_regions(node, regions)
            kept.append(node)
        return region.model_copy(update={"nodes": tuple(kept)})

    def _runs(self, node: Node) -> bool:
        """Whether a node repeats something, and at least once: a loop, or what asks an operator."""
        if node.op == "loop":
            return self.signs.is_positive(node.inputs[0], self.nodes)
        return node.op in OPERATORS


def _surely_run(node: Node) -> tuple[int, ...]:
    """The regions that are surely run: a loop's condition or else its body, and an operator."""
    return (1,) if node.op == "loop" and len(node.regions) > 1 else (0,)


def _leaving(region: Region) -> set[int]:
    """The questions of a region that no round changes, with what they need and what needs them."""
    own = {node.id for node in region.nodes}
    fixed: dict[int, Node] = {}
    asking: set[int] = set()
    for node in region.nodes:
        needs = set(_needs(node)) & own
        if _is_free(node) and node.id not in region.arguments and needs <= fixed.keys():
            fixed[node.id] = node
            if OPS[node.op].op_class == "oracle" or needs & asking:
                asking.add(node.id)
    leaving, todo = set(), list(asking)
    while todo:
        id = todo.pop()
        if id not in leaving:
            leaving.add(id)
            todo += [i for i in _needs(fixed[id]) if i in own]
    return leaving


def _needs(node: Node) -> Iterator[int]:
    yield from node.inputs
    for region in node.regions:
        yield from free_values(region)


def _is_free(node: Node) -> bool:
    return OPS[node.op].op_class in _FREE or node.op in ("const", "nan")
