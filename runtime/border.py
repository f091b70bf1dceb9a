"""The border of a step: the user's trees outside, fields and scalars inside."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .field import Field, cast, scalar_dtype, widen
from .state import Observed, Outcome, Slots
from .tree import PyTree, Tree


def enter(params: PyTree, lift: Callable[[Tree], Tree]) -> Field:
    """Weights as a step computes with them, in the places that `lift` gives."""
    tree, tensors = Tree.of(params)
    return Field.of([widen(x) for x in tensors], lift(tree))


def leave(w: Field) -> PyTree:
    """Weights as the user has them, in their own dtypes."""
    pairs = zip(w.members, w.tree.leaves, strict=True)
    return w.tree.unflatten([None if x is None else cast(x, leaf.dtype) for x, leaf in pairs])


def next_weights(w: Field, outcome: Outcome) -> Field:
    """The weights after a step, each weight tensor in a place of its own."""
    if outcome.step is not None:
        return moved(w, outcome.step)
    weights = outcome.weights if outcome.moved is None else outcome.moved
    assert weights is not None, "an outcome has a step or weights"
    pairs = zip(weights.members, w.members, strict=True)
    return Field([old if new is None else new for new, old in pairs], w.tree.plain)


def moved(w: Field, step: Field) -> Field:
    """The weights minus a step, each weight tensor in a place of its own."""
    pairs = zip(w.members, step.members, strict=True)
    # As a sum, as updates are applied: see the pass `land`.
    added = (x if x is None or s is None else lax.add(x, lax.neg(s)) for x, s in pairs)
    return Field(tuple(added), w.tree.plain)


def unmoved(w: Field) -> Field:
    """The weights, each weight tensor in a place of its own."""
    return Field(w.members, w.tree.plain)


def reported(observed: Any) -> Observed:
    """An observation as the report has it: what is one number for each tensor, by path."""
    if not isinstance(observed, Field):
        return jnp.asarray(observed, scalar_dtype())
    pairs = zip(observed.tree.leaves, observed.members, strict=True)
    return {
        leaf.path: jnp.reshape(x, ()).astype(scalar_dtype()) for leaf, x in pairs if x is not None
    }


def apart(slots: Slots, others: PyTree) -> Slots:
    """The slots in buffers of their own: one buffer cannot be donated twice."""
    taken = {id(x) for x in jax.tree.leaves(others)}

    def own(x: jax.Array) -> jax.Array:
        x = jnp.copy(x) if id(x) in taken else x
        taken.add(id(x))
        return x

    made: Slots = jax.tree.map(own, slots)
    return made
