"""Who has a turn when, in work under `every n staggered`, and what that costs."""

from collections import Counter
from dataclasses import dataclass

from ..graph import Graph, walk
from ..turns import turns
from .extents import Extents, extents
from .members import Members
from .numbers import Numbers
from .work import turn


@dataclass(frozen=True, slots=True)
class Staggered:
    """The staggered work of a line: its period, and the turn of each tensor, None for one without.

    A tensor has its turn at the steps `t` for which `(t - 1) % period` is that, and it is so many
    `flops`.
    """

    stage: str
    period: int
    turns: tuple[int | None, ...]
    flops: tuple[float, ...]

    @property
    def tensors(self) -> int:
        """How many tensors have turns."""
        return sum(turn is not None for turn in self.turns)

    @property
    def together(self) -> tuple[int, int]:
        """How many have one at a step: the least and the most."""
        counts = Counter(turn for turn in self.turns if turn is not None)
        found = [counts[turn] for turn in range(self.period)]
        return min(found), max(found)

    @property
    def operations(self) -> tuple[float, float]:
        """What the turns of a step are in operations: the least and the most."""
        found = dict.fromkeys(range(self.period), 0.0)
        for place, flops in zip(self.turns, self.flops, strict=True):
            if place is not None:
                found[place] += flops
        return min(found.values()), max(found.values())


def staggered(graph: Graph, members: Members, sizes: Extents) -> tuple[Staggered, ...]:
    """The staggered work of a step, in order."""
    numbers = Numbers(walk(graph.step), members.values)
    alone = {
        sort: extents(graph, Members(graph, [row.tensor], members.values))
        for sort, row in members.sorts.items()
        if any(kept == sort for _, kept in sizes.kept)
    }
    found = []
    for node in walk(graph.step):
        if node.op != "stagger":
            continue
        period = numbers.of(node.inputs[0])
        assert isinstance(period, int)
        shapes = [sizes.kept.get((node.id, row.sort)) for row in members.rows]
        stage = graph.stages[node.stage].label if node.stage >= 0 else ""
        flops = {sort: turn(graph, node, one, members.values) for sort, one in alone.items()}
        each = tuple(flops.get(row.sort, 0.0) for row in members.rows)
        found.append(Staggered(stage, period, tuple(turns(shapes, period)), each))
    return tuple(found)
