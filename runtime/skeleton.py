"""How a fresh state is built, told without the caller's own containers.

A slot of a state is an array, or a tree like the weights in which some tensors are missing. So of
each slot it is enough to say which of the weights it has, and a state is built again from that and
from the weights. Nothing else is told: a state with stacks, or with one of optax's own inside, has
no skeleton.
"""

from typing import Any, TypeAlias

import jax

from .state import State
from .tree import PyTree

Skeleton: TypeAlias = tuple[bool, dict[str, dict[str, tuple[bool, ...] | None]]] | None
"""Whether there is a key, and for each slot the weights that it has, None for one array."""


def skeleton(state: State, params: PyTree) -> Skeleton:
    """What tells how a state of some weights is built, if that can be told."""
    weights: Any = jax.tree.structure(params)
    try:
        slots = {
            stage: {name: _members(slot, weights) for name, slot in own.items()}
            for stage, own in state.slots.items()
        }
    except (ValueError, TypeError, AttributeError):
        return None
    told = state.key is not None, slots
    again: Any = jax.tree.structure(built(told, params, state.hyperparameters))
    return told if again == jax.tree.structure(state) else None


def built(told: Skeleton, params: PyTree, hyperparameters: dict[str, Any]) -> State:
    """A state with a 0 in the place of each array."""
    assert told is not None, "what has no skeleton is not built"
    has_key, slots = told
    weights: Any = jax.tree.structure(params)

    def slot(members: tuple[bool, ...] | None) -> PyTree:
        if members is None:
            return 0
        return weights.unflatten([0 if there else None for there in members])

    made = {
        stage: {name: slot(members) for name, members in own.items()}
        for stage, own in slots.items()
    }
    return State(0, dict.fromkeys(hyperparameters, 0), 0 if has_key else None, made)  # type: ignore[arg-type]


def _members(slot: PyTree, weights: Any) -> tuple[bool, ...] | None:
    """Which of the weights a slot has; None where it is one array."""
    if jax.tree_util.treedef_is_leaf(jax.tree.structure(slot)):
        return None
    return tuple(x is not None for x in weights.flatten_up_to(slot))
