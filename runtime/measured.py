"""What a model measures of itself: numbers for each layer, such as the largest logits of its heads.

A measurement is an array in a tree that is built like the weights: under its name, in the place of
the layer whose tensors it speaks of. `{"layer": {"attention": {"logits": x}}}` measures `logits`
of all tensors below `layer/attention`.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from .field import Field, cast, compute_dtype
from .tree import Leaf, PyTree, path_text

Measured = Mapping[tuple[str, str], jax.Array]
"""Measurements by their name and the path of their layer."""


def measurements(tree: PyTree) -> Measured:
    """The measurements of a tree: each key of a path may be the name, with a layer before it."""
    found: dict[tuple[str, str], jax.Array] = {}
    for keys, x in jax.tree_util.tree_leaves_with_path(tree):
        for place in range(len(keys)):
            name, layer = path_text(keys[place : place + 1]), path_text(keys[:place])
            found[name, layer] = jnp.asarray(x)
    return found


def measured(found: Measured, name: str, axis: int, like: Field) -> Field:
    """For each tensor of `like`, one number for each place of an axis.

    A tensor takes the measurement of the nearest layer around it. Where there are fewer numbers
    than places, each holds for as many neighbouring ones: heads are such, in an axis of all their
    units. Raises ValueError where a tensor has no measurement or one that does not fit.
    """
    layers = {layer: x for (n, layer), x in found.items() if n == name}
    tensors: list[jax.Array | None] = []
    for leaf, w in zip(like.tree.leaves, Field(like.like, like.tree).members, strict=True):
        if w is None:
            tensors.append(None)
            continue
        x = _fitting(_nearest(layers, name, leaf), name, axis, leaf, w.shape)
        shape = [1] * w.ndim
        shape[axis] = w.shape[axis]
        tensors.append(jnp.reshape(cast(x, compute_dtype(w.dtype)), shape))
    return Field.of(tensors, like.tree)


def _nearest(layers: Mapping[str, jax.Array], name: str, leaf: Leaf) -> jax.Array:
    around = leaf.path.split("/")
    for depth in range(len(around), -1, -1):
        layer = "/".join(around[:depth])
        if layer in layers:
            return layers[layer]
    where = f"; it is measured in {_listed(sorted(layers))}" if layers else ""
    raise ValueError(f"the model does not measure `{name}` of `{leaf.path}`{where}")


def _fitting(x: jax.Array, name: str, axis: int, leaf: Leaf, shape: Sequence[int]) -> jax.Array:
    length = shape[axis]
    if x.ndim > 1 or length % max(x.size, 1):
        raise ValueError(
            f"the measurement `{name}` of `{leaf.path}` has the shape {x.shape}; "
            f"it is one row of numbers that divides the {length} places of axis {axis}"
        )
    return jnp.repeat(jnp.ravel(x), length // max(x.size, 1))


def _listed(layers: Sequence[str]) -> str:
    shown = [f"`{layer}`" if layer else "the whole model" for layer in layers[:3]]
    return ", ".join(shown) + (", ..." if len(layers) > 3 else "")
