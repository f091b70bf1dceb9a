"""Transformations of optax as parts of a step: fields in and out, and a state that only they know.

    @rt.extern("mine.opt:3 | precondition mine(b1 = b1)")
    def extern_mine(b1):
        return optax.scale_by_adam(b1=b1, eps=1e-06)

    state = extern_mine.init(w, b1)
    u, state = extern_mine.update(g, state, w, b1)

A transformation sees the user's own tree, with `optax.MaskedNode` in the place of each tensor that
it does not get, as `optax.masked` would show it. Its state is made for the weights in their own
dtypes and stays in the dtypes that it has then; the arithmetic is that of the step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import lax

from .field import Field, Tensor, UnknownWeights, cast
from .tree import PyTree, Tree

_DECIDED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What JAX raises where Python decides on a value that is only known while a program runs."""


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Opaque:
    """The state of a transformation inside a step: a pytree of which nothing is known."""

    tree: PyTree

    def tree_flatten(self) -> tuple[tuple[PyTree], None]:
        """The state, and nothing beside it."""
        return (self.tree,), None

    @classmethod
    def tree_unflatten(cls, beside: None, trees: tuple[PyTree]) -> "Opaque":
        """The same with other arrays."""
        return Opaque(*trees)


Chosen = TypeVar("Chosen")


def extern(line: str) -> Callable[[Callable[..., Any]], "Extern"]:
    """Mark a function that makes a transformation; `line` is the line of the spec that asks."""
    return lambda make: Extern(make, line)


def select(condition: jax.Array, yes: Chosen, no: Chosen) -> Chosen:
    """One of two states of the same transformation, or one of two histories."""
    chosen: Chosen = jax.tree.map(lambda x, y: jnp.where(condition, x, y), yes, no)
    return chosen


class Extern:
    """A transformation that is made anew in each step, of values that may change."""

    def __init__(self, make: Callable[..., Any], line: str) -> None:
        self._make = make
        self._line = line

    def init(self, w: Field, *arguments: Any) -> Opaque:
        """The state before the first step, for the tensors that `w` has."""
        leaves = zip(w.members, w.tree.leaves, strict=True)
        own = [None if x is None else cast(x, leaf.dtype) for x, leaf in leaves]
        state = self._run(arguments, lambda tx: tx.init(_masked(own, w.tree)))
        return Opaque(jax.tree.map(_strong, state))

    def update(
        self, signal: Field, state: Opaque, w: Field, *arguments: Any, **extra: Any
    ) -> tuple[Field, Opaque]:
        """The transformed signal and the next state; `extra` goes to the update as it is."""
        params = None
        if not isinstance(w, UnknownWeights):
            pairs = zip(signal.members, w.members, strict=True)
            params = _masked([None if s is None else x for s, x in pairs], w.tree)
        for name, x in extra.items():
            extra[name] = _masked(x.members, x.tree) if isinstance(x, Field) else x
        updates = _masked(signal.members, signal.tree)
        found, after = self._run(
            arguments, lambda tx: tx.update(updates, state.tree, params, **extra)
        )
        places = signal.tree.flatten(found, "the update")
        tensors = [
            None if s is None else cast(jnp.asarray(x), s.dtype)
            for s, x in zip(signal.members, places, strict=True)
        ]
        return Field.of(tensors, signal.tree), self._kept(state, after)

    def _kept(self, before: Opaque, after: PyTree) -> Opaque:
        """The next state in the dtypes of the one before: the arithmetic may be wider."""
        structures: list[Any] = [jax.tree.structure(tree) for tree in (before.tree, after)]
        if structures[0] != structures[1]:
            raise ValueError(f"{self._line}: the state of the transformation changes its structure")
        return Opaque(jax.tree.map(lambda old, new: cast(new, old.dtype), before.tree, after))

    def _run(self, arguments: tuple[Any, ...], use: Callable[[Any], Any]) -> Any:
        try:
            return use(optax.with_extra_args_support(self._make(*arguments)))
        except _DECIDED as error:
            if not any(isinstance(each, jax.core.Tracer) for each in arguments):
                raise
            raise ValueError(
                f"{self._line}: the transformation decides in Python on a value that may change; "
                "make it a literal, or an int, bool or str parameter"
            ) from error
        except Exception as error:
            error.add_note(f"in the stage {self._line}")
            raise


def _masked(members: Sequence[Tensor], tree: Tree) -> PyTree:
    """The user's tree, with a masked node where there is no tensor."""
    return tree.unflatten([optax.MaskedNode() if x is None else x for x in members])


def _strong(x: Any) -> jax.Array:
    """An array of a type that stays: a weak type would not come back from the first step."""
    array = jnp.asarray(x)
    # A random key has no weak type, nor the attribute.
    weak = getattr(array, "weak_type", False)
    return lax.convert_element_type(array, array.dtype) if weak else array
