"""The tree of a user's weights, seen as a flat list of named tensors, and of places.

Inside a step nothing looks like a tree: weights, gradients and states are tuples with one array
for each place (`field.Field`), and a `Tree` is what those tuples share. A place is one weight
tensor, a stack of several that are alike, or a pack of several small ones. Trees are flattened when
they come in and built again when they leave, once each.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .devices import Split
from .packing import Shapes, at_runtime, pack, unpack

PyTree: TypeAlias = Any
"""Any nesting of containers that JAX knows, with arrays at its leaves."""


MANY = 4
"""From how many slices of a stack on they are worth a choice of their places."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is known of one weight tensor before the program runs."""

    path: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def rows(self) -> int:
        """The length of the last axis but one; 1 where there is none."""
        return self.shape[-2] if self.ndim >= 2 else 1

    @property
    def cols(self) -> int:
        """The length of the last axis; 1 where there is none."""
        return self.shape[-1] if self.ndim >= 1 else 1


@dataclass(frozen=True, slots=True)
class Place:
    """What a field has one array for: a weight tensor, or several of one dtype.

    `members` are their indices among the leaves, and `leaf` is the first of them. A stack is of
    tensors of one shape, and its `rows` say which of the leaves lies at each place of the first
    axis. Where devices share a stack evenly, some members lie there twice, and the first time
    counts. A pack is one vector of tensors of any `shapes`.
    """

    leaf: Leaf
    members: tuple[int, ...]
    rows: tuple[int, ...] = ()
    shapes: Shapes = ()

    @property
    def is_stack(self) -> bool:
        """Whether the array has a first axis of members."""
        return bool(self.rows)

    @property
    def is_pack(self) -> bool:
        """Whether the array is a vector of the elements of all members."""
        return bool(self.shapes)

    @property
    def is_joint(self) -> bool:
        """Whether the array is of several tensors."""
        return self.is_stack or self.is_pack

    @property
    def name(self) -> str:
        """The path of the weight here, or of the first with how many follow: `0/kernel + 11`."""
        more = len(self.members) - 1
        return f"{self.leaf.path} + {more}" if more else self.leaf.path

    def size(self, x: jax.Array) -> int:
        """The number of elements of the array here, with those of each member once."""
        return x.size * len(self.members) // len(self.rows) if self.is_stack else x.size

    def join(self, tensors: Sequence[Any]) -> Any:
        """The array here, of the tensors of all leaves; None where those here are not there."""
        if tensors[self.members[0]] is None:
            return None
        if self.is_pack:
            return pack([tensors[i] for i in self.members])
        if self.is_stack:
            return jnp.stack([tensors[i] for i in self.rows])
        return tensors[self.members[0]]

    def separate(self, x: Any, axis: int = 0) -> list[Any]:
        """The tensor of each member, of the array here; the members lie along `axis`."""
        if x is None or not self.is_joint:
            return [x] * len(self.members)
        if self.is_pack:
            return unpack(x, self.shapes)
        rows = [self.rows.index(i) for i in self.members]
        unknown = len(rows) >= MANY and isinstance(x, jax.core.Tracer) and x.size > 0
        # What is cut over devices by its type has no single element to choose by.
        unknown = unknown and not any(jax.typeof(x).sharding.spec)
        if unknown and jax.default_backend() == "cpu":
            places = at_runtime(x, rows)
            return [lax.dynamic_index_in_dim(x, i, axis, keepdims=False) for i in places]
        return [lax.index_in_dim(x, row, axis, keepdims=False) for row in rows]


@dataclass(frozen=True)
class Tree:
    """The structure of the weights and the path, shape and dtype of each tensor, hashable.

    Paths are the keys of the tree joined with slashes: `layers/0/kernel`. `lifted` are the places
    where some of the weights lie together; without them each weight is a place of its own. `split`
    says over which devices the stacks are split.
    """

    structure: Any  # jax.tree_util.PyTreeDef, which mypy sees as Any
    leaves: tuple[Leaf, ...]
    lifted: tuple[Place, ...] | None = None
    split: Split | None = None

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """What a field has an array for, in order."""
        if self.lifted is not None:
            return self.lifted
        return tuple(Place(leaf, (i,)) for i, leaf in enumerate(self.leaves))

    @property
    def plain(self) -> "Tree":
        """The same with each weight in a place of its own."""
        return self if self.lifted is None else Tree(self.structure, self.leaves)

    def join(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The array of each place, of one tensor for each leaf."""
        if not self.lifted:
            return tuple(tensors)
        return tuple(self.parted(place, place.join(tensors)) for place in self.places)

    def separate(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """One tensor for each leaf, of the array of each place."""
        if not self.lifted:
            return tuple(arrays)
        found: list[Any] = [None] * len(self.leaves)
        for place, x in zip(self.places, arrays, strict=True):
            for i, tensor in zip(place.members, self.members_of(place, x), strict=True):
                found[i] = tensor
        return tuple(found)

    @classmethod
    def of(cls, tree: PyTree, name: str = "params") -> tuple[Self, tuple[jax.Array, ...]]:
        """The `Tree` of some weights, and their tensors in its order.

        `name` is what messages call the tree. Raises TypeError for a leaf that is not an array
        of floats.
        """
        keyed, structure = jax.tree_util.tree_flatten_with_path(tree)
        leaves, tensors = [], []
        for keys, tensor in keyed:
            path = path_text(keys)
            tensor = float_array(tensor, path, name)
            leaves.append(Leaf(path, tensor.shape, tensor.dtype.name))
            tensors.append(tensor)
        return cls(structure, tuple(leaves)), tuple(tensors)

    def members_of(self, place: Place, x: Any, axis: int = 0) -> list[Any]:
        """The tensor of each member of a place, whole on every device; they lie along `axis`."""
        split = self.open_split if place.is_stack else None
        return place.separate(x if x is None or split is None else split.whole(x, axis), axis)

    def parted(self, place: Place, x: Any) -> Any:
        """The array of a place as devices share it: a stack in parts."""
        split = self.open_split if place.is_stack else None
        return x if x is None or split is None else split.parted(x)

    @property
    def open_split(self) -> Split | None:
        """How devices share the stacks here and now."""
        return self.split if self.split is not None and self.split.is_open else None

    def flatten(self, tree: PyTree, name: str) -> list[Any]:
        """What `tree` holds at the place of each weight tensor; None where it holds nothing.

        Raises ValueError where the structures differ.
        """
        try:
            places: list[Any] = self.structure.flatten_up_to(tree)
        except (ValueError, TypeError) as error:
            found = jax.tree.structure(tree)
            raise ValueError(
                f"{name} is not built like params: {error}\n"
                f"  params: {self.structure}\n  {name}: {found}"
            ) from None
        return places

    def unflatten(self, tensors: Sequence[Any]) -> PyTree:
        """The tree with these tensors at its leaves."""
        return self.structure.unflatten(tensors)

    @cached_property
    def _hash(self) -> int:
        return hash((self.structure, self.leaves, self.lifted))

    def __hash__(self) -> int:
        # A tree of a thousand leaves is hashed at each inner call, so the hash is kept.
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Tree):
            return NotImplemented
        mine, others = ((x.leaves, x.lifted, x.split) for x in (self, other))
        return mine == others and bool(self.structure == other.structure)


def leaves_of(tree: PyTree, name: str = "params") -> tuple[Leaf, ...]:
    """The leaves of some weights, of which only shapes are looked at: structs will do.

    Raises TypeError for a leaf that is not an array of floats.
    """
    found = []
    for keys, tensor in jax.tree_util.tree_flatten_with_path(tree)[0]:
        path = path_text(keys)
        if not isinstance(tensor, jax.ShapeDtypeStruct):
            tensor = float_array(tensor, path, name)
        elif not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise _not_float(tensor.dtype, _place(path, name))
        found.append(Leaf(path, tuple(tensor.shape), jnp.dtype(tensor.dtype).name))
    return tuple(found)


def path_text(keys: Sequence[Any]) -> str:
    """The slash-separated path of a leaf: `layers/0/kernel`; of a lone leaf, the empty text."""
    return jax.tree_util.keystr(tuple(keys), simple=True, separator="/")


def matches(path: str, pattern: str) -> bool:
    """Whether a regular expression occurs in a path.

    The compiler refuses patterns that could backtrack without bound; this does not look.
    """
    return re.search(pattern, path) is not None


def float_array(tensor: Any, path: str, name: str = "params") -> jax.Array:
    """A leaf of the tree `name` as an array. Raises TypeError where it is none of floats."""
    place = _place(path, name)
    if not isinstance(tensor, jax.Array | np.ndarray | np.generic | float | int | complex):
        raise TypeError(
            f"{place} is a {type(tensor).__name__}, not an array; partition it out of the weights"
        )
    array = tensor if isinstance(tensor, jax.Array) else jnp.asarray(tensor)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise _not_float(array.dtype, place)
    # A weak type would not come back from the first step, and the second would compile anew.
    return lax.convert_element_type(array, array.dtype) if array.weak_type else array


def _place(path: str, name: str) -> str:
    return f"{name} leaf `{path}`" if path else name


def _not_float(dtype: Any, place: str) -> TypeError:
    return TypeError(
        f"{place} has dtype {dtype}; only float tensors are trained, "
        "so partition it out of the weights"
    )
