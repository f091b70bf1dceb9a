"""The border of a step: the user's trees outside, fields and scalars inside."""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .field import Field, cast, scalar_dtype, widen
from .joined import Joined, joined
from .state import Observed, Outcome, Slots
from .tree import Place, PyTree, Tree, float_array


def read(weights: PyTree, name: str = "params") -> Field:
    """Weights, or what is built like them, in the places in which the user has them.

    `name` is what messages call them. Raises TypeError for a leaf that is not an array of floats.
    """
    if not isinstance(weights, Joined):
        tree, tensors = Tree.of(weights, name)
        return Field(tensors, tree)
    tree = weights.beside
    rows = zip(tree.places, weights.tensors, strict=True)
    return Field([_checked(place, x, name) for place, x in rows], tree)


def enter(weights: Field, lift: Callable[[Tree], Tree]) -> Field:
    """Weights as a step computes with them, in the places that `lift` gives."""
    wide = Field([widen(x) for x in weights.tensors], weights.tree)
    return arranged(wide, lift(weights.tree))


def arranged(field: Field, tree: Tree) -> Field:
    """The same field in the places of another tree, which is of the same weights."""
    if field.tree == tree:
        return field
    here = dict(zip(field.tree.places, field.tensors, strict=True))
    members = field.members if any(place not in here for place in tree.places) else None
    tensors = [
        here[place] if place in here or members is None else tree.parted(place, place.join(members))
        for place in tree.places
    ]
    return Field(tensors, tree, members=members)


def leave(w: Field) -> PyTree:
    """Weights as the user has them, in their own dtypes."""
    pairs = zip(w.tensors, w.tree.places, strict=True)
    tensors = [None if x is None else cast(x, place.leaf.dtype) for x, place in pairs]
    return w.tree.unflatten(tensors) if w.tree.lifted is None else joined(Field(tensors, w.tree))


def next_weights(w: Field, outcome: Outcome, tree: Tree) -> Field:
    """The weights after a step, in the places of a tree."""
    if outcome.step is not None:
        return moved(w, outcome.step, tree)
    weights = outcome.weights if outcome.moved is None else outcome.moved
    assert weights is not None, "an outcome has a step or weights"
    pairs = zip(arranged(weights, tree).tensors, arranged(w, tree).tensors, strict=True)
    return Field([old if new is None else new for new, old in pairs], tree)


def stepped(outcome: Outcome) -> Outcome:
    """The outcome of given gradients, which has a step where others have where it leads."""
    return outcome if outcome.moved is None else replace(outcome, step=outcome.moved, moved=None)


def moved(w: Field, step: Field, tree: Tree) -> Field:
    """The weights minus a step, in the places of a tree."""
    pairs = zip(arranged(w, tree).tensors, arranged(step, tree).tensors, strict=True)
    # As a sum, as updates are applied: see the pass `land`.
    added = (x if x is None or s is None else lax.add(x, lax.neg(s)) for x, s in pairs)
    return Field(tuple(added), tree)


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


def _checked(place: Place, x: Any, name: str) -> jax.Array:
    """The array of a place of packed weights, as `pack` made it; gradients have their own dtype."""
    array = float_array(x, place.name, name)
    shape = (sum(map(prod, place.shapes)),) if place.is_pack else place.leaf.shape
    if array.shape != shape:
        was = f"shape {array.shape}, and packed it had {shape}"
    elif name == "params" and array.dtype != place.leaf.dtype:
        was = f"dtype {array.dtype}, and packed it had {place.leaf.dtype}"
    else:
        return array
    raise ValueError(
        f"{name} leaf `{place.name}` has {was}; change the tree and pack it: optimizer.pack(params)"
    )
