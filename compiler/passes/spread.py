"""Give each use of a transpose one of its own, where it is used, and so with `eye` and its like.

They cost nothing beside what uses them, and a buffer where they are kept, and they read best where
they stand. Needs: equal values merged, and no later pass that merges them. Guarantees: the same
values; what a spec gave a name stays as it is.
"""

from collections.abc import Mapping
from itertools import count

from ..graph import Graph, Node, Region, index
from ..ops import MAKERS
from .rewrite import Replaced, over_regions, renamed, with_regions

_FREE = ("transpose", *MAKERS)


def spread(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    free = {i: n for i, n in nodes.items() if n.op in _FREE and n.name is None}
    if not free:
        return graph
    spreading = _Spreading(free, nodes)
    return over_regions(graph, spreading.region)


class _Spreading:
    def __init__(self, free: dict[int, Node], nodes: Mapping[int, Node]) -> None:
        self._free = free
        # As those that merging takes away again, so that both change nothing the second time.
        first = max((id for id in nodes if id not in free), default=-1) + 1
        self._ids = (id for id in count(first) if id not in nodes)
        self._used: set[int] = set()

    def region(self, region: Region) -> Region:
        made: list[Node] = []
        for node in region.nodes:
            if node.id in self._free:
                continue
            replaced = self._own(node.inputs, node.stage, made)
            inner = (self.region(each) for each in node.regions)
            made.append(with_regions(renamed(node, replaced), inner))
        replaced = self._own(region.results, -1, made)
        results = tuple(replaced.get(i, i) for i in region.results)
        return Region(arguments=region.arguments, nodes=tuple(made), results=results)

    def _own(self, inputs: tuple[int, ...], stage: int, made: list[Node]) -> Replaced:
        """Values of their own for some inputs, which are put behind what was made."""
        replaced: Replaced = {}
        for old in dict.fromkeys(inputs):
            if (node := self._free.get(old)) is not None:
                own = self._own(node.inputs, node.stage, made)
                replaced[old] = next(self._ids) if old in self._used else old
                self._used.add(old)
                stage = node.stage if stage < 0 else stage
                new = node.model_copy(update={"id": replaced[old], "stage": stage})
                made.append(renamed(new, own))
        return replaced
