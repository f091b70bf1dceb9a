"""Give each use of a transpose one of its own, where it is used.

A transpose costs nothing beside a product and a buffer where it is kept, and it reads best where it
stands. Needs: equal values merged, and no later pass that merges them. Guarantees: the same values;
transposes that a spec gave a name stay as they are.
"""

from itertools import count

from ..graph import Graph, Node, Region, index
from .rewrite import Replaced, over_regions, renamed, with_regions


def spread(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    transposes = {i: n for i, n in nodes.items() if n.op == "transpose" and n.name is None}
    if not transposes:
        return graph
    spreading = _Spreading(transposes, max(nodes) + 1)
    return over_regions(graph, spreading.region)


class _Spreading:
    def __init__(self, transposes: dict[int, Node], first: int) -> None:
        self._transposes = transposes
        self._ids = count(first)

    def region(self, region: Region) -> Region:
        made: list[Node] = []
        for node in region.nodes:
            if node.id in self._transposes:
                continue
            replaced = self._own(node.inputs, node.stage, made)
            inner = (self.region(each) for each in node.regions)
            made.append(with_regions(renamed(node, replaced), inner))
        replaced = self._own(region.results, -1, made)
        results = tuple(replaced.get(i, i) for i in region.results)
        return Region(arguments=region.arguments, nodes=tuple(made), results=results)

    def _own(self, inputs: tuple[int, ...], stage: int, made: list[Node]) -> Replaced:
        """Transposes of their own for some inputs, which are put behind what was made."""
        replaced: Replaced = {}
        for old in dict.fromkeys(inputs):
            if (node := self._transposes.get(old)) is not None:
                own = self._own(node.inputs, node.stage, made)
                replaced[old] = next(self._ids)
                stage = node.stage if stage < 0 else stage
                new = node.model_copy(update={"id": replaced[old], "stage": stage})
                made.append(renamed(new, own))
        return replaced
