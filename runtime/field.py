"""Fields: one array for every place of the weights; masks, and the dtypes to compute in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp

from .arrange import View
from .devices import placed_like
from .tree import Leaf, Place, Tree

Tensor: TypeAlias = jax.Array | None
"""One tensor of a field; None where the field has none."""


WIDENED = "widened"
"""Declared of a state that is kept in the dtype that is computed in, at least float32."""


@jax.tree_util.register_pytree_node_class
class Field:
    """One tensor for each place of the weights, None where the field leaves a weight out.

    `tree` describes the weights, not the tensors: those of a state may have other shapes. A place
    is a weight tensor, a stack of several, whose tensor then has one more axis, the first, or a
    pack of several, whose tensor is a vector. `members` are known where the field was made of them.
    `declared` is the dtype that a state is kept in between steps, None for the weight's own, and
    `WIDENED` for that which is computed in.
    """

    __slots__ = ("_members", "declared", "tensors", "tree")

    tensors: tuple[Tensor, ...]
    tree: Tree
    declared: str | None

    def __init__(
        self,
        tensors: Sequence[Tensor],
        tree: Tree,
        declared: str | None = None,
        members: Sequence[Tensor] | None = None,
    ) -> None:
        self.tensors = tuple(tensors)
        self.tree = tree
        self.declared = declared
        self._members = None if members is None else tuple(members)

    @classmethod
    def of(cls, members: Sequence[Tensor], tree: Tree) -> "Field":
        """The field of one tensor for each weight tensor, joined where several lie in one place."""
        return Field(tree.join(members), tree, members=members)

    @property
    def members(self) -> tuple[Tensor, ...]:
        """One tensor for each weight tensor, whatever the places are."""
        return self.tree.separate(self.tensors) if self._members is None else self._members

    @property
    def like(self) -> tuple[Tensor, ...]:
        """Tensors of which only shape and placement are used."""
        return self.tensors

    @property
    def domain(self) -> "Mask":
        """Where the field has a tensor."""
        return Mask(tuple(tensor is not None for tensor in self.tensors))

    def tree_flatten(self) -> tuple[tuple[Tensor, ...], tuple[Tree, str | None]]:
        """The tensors, and what JAX keeps beside them."""
        return self.tensors, (self.tree, self.declared)

    @classmethod
    def tree_unflatten(cls, beside: tuple[Tree, str | None], tensors: Sequence[Tensor]) -> "Field":
        """The field of these tensors."""
        return Field(tensors, *beside)

    def __repr__(self) -> str:
        return f"Field({', '.join(leaf.path for leaf in self.tree.leaves)})"


class UnknownWeights(Field):
    """The weights of a caller who gave none: their shapes are known, their values are not."""

    __slots__ = ("_like",)

    message: ClassVar[str] = (
        "`params` is missing: this optimizer reads the weights, "
        "so call update(grads, state, params)"
    )

    def __init__(self, like: Field) -> None:
        self.tree = like.tree
        self.declared = None
        self._like = like.tensors
        self._members = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:  # type: ignore[override]  # reading it is the error
        """Not there: raises ValueError naming the missing argument."""
        raise ValueError(self.message)

    @property
    def like(self) -> tuple[Tensor, ...]:
        """Tensors of the same shapes."""
        return self._like


@dataclass(frozen=True, slots=True)
class Mask:
    """A choice of weight tensors, made before the program runs; a flag for each place."""

    flags: tuple[bool, ...]

    def members(self, tree: Tree) -> tuple[bool, ...]:
        """A flag for each weight tensor, whatever the places are."""
        chosen = zip(tree.places, self.flags, strict=True)
        here = {i for place, flag in chosen if flag for i in place.members}
        return tuple(i in here for i in range(len(tree.leaves)))

    def __and__(self, other: "Mask") -> "Mask":
        return Mask(tuple(a and b for a, b in zip(self.flags, other.flags, strict=True)))

    def __or__(self, other: "Mask") -> "Mask":
        return Mask(tuple(a or b for a, b in zip(self.flags, other.flags, strict=True)))

    def __invert__(self) -> "Mask":
        return Mask(tuple(not flag for flag in self.flags))


def mask(
    w: Field,
    predicate: Callable[..., bool],
    within: Mask | None = None,
    view: View | None = None,
    h: Mapping[str, Any] | None = None,
) -> Mask:
    """The weight tensors for which a predicate holds; it sees a `Leaf`, its path and shape.

    With `view` the predicate sees the tensors of `within` in that arrangement; with `h` it also
    sees the hyperparameters.
    """
    beside = () if h is None else (h,)
    leaves = w.tree.leaves

    def chooses(leaf: Leaf) -> bool:
        return bool(predicate(leaf if view is None else view.of(leaf, {}), *beside))

    def flag(place: Place) -> bool:
        found = [chooses(leaves[i]) for i in place.members]
        if any(found) != all(found):
            paths = ", ".join(leaves[i].path for i in place.members)
            raise ValueError(f"a place holds tensors that a set tells apart: {paths}")
        return found[0]

    flags = within.flags if within else (True,) * len(w.tree.places)
    pairs = zip(w.tree.places, flags, strict=True)
    return Mask(tuple(inside and flag(place) for place, inside in pairs))


def restrict(field: Field, where: Mask) -> Field:
    """The field on the tensors of a mask; None elsewhere."""
    kept = zip(field.tensors, where.flags, strict=True)
    return Field([x if keep else None for x, keep in kept], field.tree)


def refuse(w: Field, where: Mask, message: str, line: str) -> None:
    """Raise ValueError when any tensor lies in `where`, naming the tensors and the spec line."""
    chosen = [place for place, here in zip(w.tree.places, where.flags, strict=True) if here]
    paths = [w.tree.leaves[i].path for place in chosen for i in place.members]
    if paths:
        raise ValueError(f"{message} ({line}): {', '.join(paths)}")


def zeros(w: Field, where: Mask | None = None) -> Field:
    """Zeros shaped like the weights, on the tensors of a mask."""
    return full(w, 0.0, where)


def ones(w: Field, where: Mask | None = None) -> Field:
    """Ones shaped like the weights, on the tensors of a mask."""
    return full(w, 1.0, where)


def full(w: Field, value: jax.Array | float, where: Mask | None = None) -> Field:
    """One number everywhere, shaped and placed like the weights, on the tensors of a mask."""
    flags = where.flags if where else (True,) * len(w.like)
    made = (
        placed_like(x, jnp.full_like(x, value, dtype=compute_dtype(x.dtype)))
        if keep and x is not None
        else None
        for x, keep in zip(w.like, flags, strict=True)
    )
    return Field(tuple(made), w.tree)


def nans(w: Field, where: Mask | None = None) -> Field:
    """One NaN for each tensor of a mask, in a shape that broadcasts against it."""
    flags = where.flags if where else (True,) * len(w.like)

    def made(place: Place, x: jax.Array) -> jax.Array:
        stack = (len(place.rows),) if place.is_stack else ()
        shape = stack + (1,) * (x.ndim - len(stack))
        return jnp.full(shape, jnp.nan, compute_dtype(x.dtype))

    rows = zip(w.tree.places, w.like, flags, strict=True)
    return Field([made(place, x) if k and x is not None else None for place, x, k in rows], w.tree)


def copy(w: Field) -> Field:
    """The same values in buffers of their own.

    A state that starts as the weights needs them: one buffer cannot be donated twice.
    """
    return Field([None if x is None else jnp.copy(x) for x in w.tensors], w.tree, w.declared)


def compute_dtype(dtype: Any) -> Any:
    """The dtype to compute in: floats of less than 32 bits become float32, all else stays."""
    narrow = jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 4
    return jnp.dtype(jnp.float32) if narrow else jnp.dtype(dtype)


def widen(x: Any) -> Any:
    """An array as a step computes with it: floats at least float32; None stays None."""
    return None if x is None else cast(x, compute_dtype(x.dtype))


def cast(x: Any, dtype: Any) -> Any:
    """The array in another dtype; itself where it has that one."""
    return x if x.dtype == dtype else x.astype(dtype)


def scalar_dtype() -> Any:
    """The dtype of every float scalar: float64 under x64, else float32."""
    return jnp.result_type(float)
