"""The gradients of the examples of a batch, and means over them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .field import Field


@jax.tree_util.register_pytree_node_class
class Examples:
    """One gradient for each example: a field whose tensors have the examples as first axis."""

    __slots__ = ("stacked",)

    stacked: Field

    def __init__(self, stacked: Field) -> None:
        self.stacked = stacked

    def mean(self, function: Callable[[Field], Any] | None = None) -> Any:
        """The mean over the examples, of the gradients or of a function of one of them."""
        found = self.stacked if function is None else jax.vmap(function)(self.stacked)
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), found)

    def tree_flatten(self) -> tuple[tuple[Field], None]:
        """The field, and nothing beside it."""
        return (self.stacked,), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[Field]) -> "Examples":
        """The gradients of this field."""
        return Examples(*children)
