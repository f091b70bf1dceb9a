"""What a step costs, before and after: oracles, and bytes of state for each weight."""

from ..driver import summary
from ..graph import Graph
from .records import Change, Fact


def costs(old: Graph, new: Graph) -> tuple[Change, ...]:
    """The costs that are others now, of graphs as they are executed."""
    before, after = _figures(old), _figures(new)
    pairs = ((name, before.get(name, ""), after.get(name, "")) for name in {**before, **after})
    return tuple(
        Change("changed", name, facts=(Fact("", was or "0", now or "0"),))
        for name, was, now in pairs
        if was != now
    )


def _figures(graph: Graph) -> dict[str, str]:
    found = summary(graph)
    state = {"state bytes per weight": f"{found.state_bytes_per_weight:g}"}
    return state | {f"{name} per step": str(count) for name, count in found.oracles.items()}
