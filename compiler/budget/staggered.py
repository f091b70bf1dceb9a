"""Who has a turn when, in work under `every n staggered`."""

from collections import Counter
from dataclasses import dataclass

from ..graph import Graph, walk
from ..turns import turns
from .extents import Extents
from .members import Members
from .numbers import Numbers


@dataclass(frozen=True, slots=True)
class Staggered:
    """The staggered work of a line: its period, and the turn of each tensor, None for one without.

    A tensor has its turn at the steps `t` for which `(t - 1) % period` is that.
    """

    stage: str
    period: int
    turns: tuple[int | None, ...]

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


def staggered(graph: Graph, members: Members, extents: Extents) -> tuple[Staggered, ...]:
    """The staggered work of a step, in order."""
    numbers = Numbers(walk(graph.step), members.values)
    found = []
    for node in walk(graph.step):
        if node.op != "stagger":
            continue
        period = numbers.of(node.inputs[0])
        assert isinstance(period, int)
        shapes = [extents.kept.get((node.id, row.sort)) for row in members.rows]
        stage = graph.stages[node.stage].label if node.stage >= 0 else ""
        found.append(Staggered(stage, period, tuple(turns(shapes, period))))
    return tuple(found)
