"""What a step costs, before and after: oracles, and bytes of state."""

from ..budget.budget import Budget, BudgetError, budget, opaque_slots
from ..budget.tensors import Tensor, Tree
from ..budget.text import bytes_text
from ..graph import Graph
from ..graphs import summary
from .records import Change, Fact

_ANY = Tree("", (Tensor("w", (2, 2)),))
"""Weights for what does not depend on them."""


def costs(old: Graph, new: Graph) -> tuple[Change, ...]:
    """The costs that are others now, as far as they do not depend on the weights."""
    return _changes(_figures(old), _figures(new))


def costs_for(old: Budget, new: Budget, graphs: tuple[Graph, Graph]) -> tuple[Change, ...]:
    """The costs that are others now, for real weights."""
    before, after = (
        {**_for_weights(b, g), **_oracles(b)} for b, g in zip((old, new), graphs, strict=True)
    )
    return _changes(before, after)


def _changes(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    pairs = ((name, before.get(name, "0"), after.get(name, "0")) for name in {**before, **after})
    return tuple(
        Change("changed", name, facts=(Fact("", was, now),))
        for name, was, now in pairs
        if was != now
    )


def _figures(graph: Graph) -> dict[str, str]:
    try:
        oracles = _oracles(budget(graph, _ANY))
    except BudgetError:
        # Nothing is known before a hyperparameter has a value.
        oracles = {}
    found = summary(graph)
    state = {"state bytes per weight": found.state}
    matrices = {"state bytes per matrix": found.matrices} if found.matrices else {}
    return {**state, **matrices, **oracles}


def _oracles(found: Budget) -> dict[str, str]:
    return {f"{name} per step": f"{count:g}" for name, count in found.oracles.items()}


def _for_weights(found: Budget, graph: Graph) -> dict[str, str]:
    figures = {"operations per weight": f"{found.flops_per_weight:.4g}"}
    if opaque_slots(graph):
        return figures  # only optax knows what its transformations keep
    return {"state": bytes_text(found.state_bytes), **figures}
