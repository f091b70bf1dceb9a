"""Trees of tensors of which several lie in one array: slots of the state, and packed weights."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.export

from .field import Field
from .tree import PyTree, Tree
from .written import read, written


@jax.tree_util.register_pytree_with_keys_class
class Joined:
    """A tree like the weights in which several tensors are one array, a stack or a pack.

    `tensors` has an array for each place, None where there is none. `tree` is the same as the
    weights' own tree, made when it is asked for. Arrays may have further axes before all others, as
    a sweep under `jax.vmap` gives them; the tree's have them too.
    """

    __slots__ = ("axes", "beside", "tensors")

    tensors: tuple[Any, ...]
    beside: Tree
    axes: tuple[int, ...]
    """The number of axes of each array when it was made."""

    def __init__(self, tensors: Sequence[Any], beside: Tree, axes: tuple[int, ...]) -> None:
        self.tensors = tuple(tensors)
        self.beside = beside
        self.axes = axes

    @property
    def tree(self) -> PyTree:
        """A tree built like the weights, with None where there is no tensor."""
        found: list[Any] = [None] * len(self.beside.leaves)
        for place, x, axes in zip(self.beside.places, self.tensors, self.axes, strict=True):
            members = self.beside.members_of(place, x, 0 if x is None else x.ndim - axes)
            for i, member in zip(place.members, members, strict=True):
                found[i] = member
        return self.beside.unflatten(found)

    def tree_flatten_with_keys(self) -> tuple[Any, tuple[Tree, tuple[int, ...]]]:
        """The arrays, and what JAX keeps beside them."""
        key = jax.tree_util.GetAttrKey("tensors")
        return ((key, self.tensors),), (self.beside, self.axes)

    @classmethod
    def tree_unflatten(cls, beside: tuple[Tree, tuple[int, ...]], children: Any) -> "Joined":
        """The tree of these arrays."""
        (tensors,) = children
        made = object.__new__(cls)
        made.tensors, (made.beside, made.axes) = tensors, beside
        return made

    def __repr__(self) -> str:
        rows = zip(self.beside.places, self.tensors, strict=True)
        shown = (f"{place.name}: {_shape(x)}" for place, x in rows if x is not None)
        return f"Joined({', '.join(shown)})"


def _shape(x: Any) -> str:
    shape = getattr(x, "shape", None)
    return type(x).__name__ if shape is None else f"{x.dtype}[{','.join(map(str, shape))}]"


jax.export.register_pytree_node_serialization(
    Joined,
    serialized_name="optc.runtime.Joined",
    serialize_auxdata=written,
    deserialize_auxdata=read,
)


def has_joint(tree: Tree, arrays: Sequence[Any]) -> bool:
    """Whether some of the arrays of a field is that of several tensors."""
    return any(
        place.is_joint and x is not None for place, x in zip(tree.places, arrays, strict=True)
    )


def joined(field: Field) -> Joined:
    """A field as it is, with the arrays of its places."""
    axes = tuple(0 if x is None else x.ndim for x in field.tensors)
    return Joined(field.tensors, field.tree, axes)


def shown(field: Field) -> PyTree:
    """A field as the state keeps it: a tree built like the weights, or `Joined`."""
    if has_joint(field.tree, field.tensors):
        return joined(field)
    return field.tree.unflatten(field.members)
