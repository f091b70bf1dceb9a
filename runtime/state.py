"""The state between steps, the report of a step, and the border between trees and fields.

A state is made of the user's own trees: each slot that is a field inside a step is, outside, a
tree built like the weights, with None where the field has no tensor. One with several tensors in
one array stays `Joined`, so that a step neither cuts it up nor puts it together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from .extern import Opaque
from .field import WIDENED, Field, cast, compute_dtype, scalar_dtype, widen
from .joined import Joined, has_joint, shown
from .tree import Tree, path_text

Slots: TypeAlias = dict[str, Any]
"""The slots of each stage by name: `slots["precondition"]["mu"]`."""

Observed: TypeAlias = jax.Array | dict[str, jax.Array]
"""What a report has under one name."""


class State(NamedTuple):
    """Everything that an optimizer keeps between steps; a pytree of arrays.

    `count` is the number of steps applied, `hyperparameters` the float ones, and `key` the raw
    data of a random key, None for a program that draws nothing and was given none.
    """

    # The name under which optax.tree.get finds the step count hides a method of tuples.
    count: jax.Array  # type: ignore[assignment]
    hyperparameters: dict[str, jax.Array]
    key: jax.Array | None
    slots: Slots


class Report(NamedTuple):
    """What a step found: the loss at the old weights, and what the program observes.

    An observation is an array, or for one number per tensor a dict of them by the tensors' paths.
    `requested` is what the program asks of whoever trains, by name. What is not due at this step is
    NaN. `aux` is what the model returned beside its value; `applied` is False where a guard held
    the step back or it was accumulated. `model_state` is the next one of the model, as the pass at
    the weights returned it.
    """

    loss: jax.Array
    observed: dict[str, Observed]
    requested: dict[str, jax.Array]
    aux: Any
    applied: jax.Array
    model_state: Any = None


for _node in (State, Report):
    jax.export.register_namedtuple_serialization(
        _node, serialized_name=f"optc.runtime.{_node.__name__}"
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step of a program returns, in fields and scalars.

    Either `step`, with the next weights w - step, or `weights`, the next weights themselves, or
    `moved`: what `Oracles.moved` and `Oracles.unmoved` give.
    Where `applied` is false, the step count stays.
    """

    loss: jax.Array
    slots: Slots
    step: Field | None = None
    weights: Field | None = None
    moved: Field | None = None
    observed: Mapping[str, jax.Array | Field] | None = None
    requested: Mapping[str, jax.Array] | None = None
    applied: jax.Array | None = None


class _Kept(NamedTuple):
    """The shape and dtype of an array of the state."""

    shape: tuple[int, ...]
    dtype: Any


@dataclass(frozen=True, slots=True)
class _Stored:
    """How a slot lies in the state: the arrays of a field, or the dtype of anything else.

    `tree` is that of the field. `opaque` is the structure of a transformation's own state, whose
    arrays stay as they are.
    """

    name: str
    arrays: tuple[_Kept | None, ...] | None
    dtype: Any = None
    opaque: Any = None
    tree: Tree | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields are among the slots, and how each array is stored."""

    structure: Any  # jax.tree_util.PyTreeDef of the slots, each field one leaf
    stored: tuple[_Stored, ...]

    @classmethod
    def of(cls, slots: Slots) -> Self:
        """The layout of the slots that a program's `init` made."""
        keyed, structure = jax.tree_util.tree_flatten_with_path(slots, is_leaf=_is_field)
        stored = tuple(_stored(path_text(keys), slot) for keys, slot in keyed)
        return cls(structure, stored)

    def leave(self, slots: Slots) -> Slots:
        """The slots as the state keeps them: trees, each array in its stored dtype."""
        outside = []
        for stored, slot in zip(self.stored, self.structure.flatten_up_to(slots), strict=True):
            if isinstance(slot, Opaque):
                outside.append(slot.tree)
            elif stored.arrays is not None:
                pairs = zip(slot.tensors, stored.arrays, strict=True)
                tensors = [x if kept is None else _left(x, kept.dtype) for x, kept in pairs]
                placed = map(slot.tree.parted, slot.tree.places, tensors)
                outside.append(shown(Field(tuple(placed), slot.tree)))
            else:
                outside.append(jnp.asarray(slot, stored.dtype))
        made: Slots = self.structure.unflatten(outside)
        return made

    def enter(self, slots: Slots) -> Slots:
        """The slots as a step sees them: fields of at least float32.

        Raises ValueError where they are not those of this program and these weights.
        """
        inside: list[Any] = []
        for stored, slot in zip(self.stored, self._flat(slots), strict=True):
            if stored.arrays is None:
                inside.append(widen(slot))
                continue
            name = f"slot `{stored.name}` of the state"
            if stored.opaque is not None:
                inside.append(_opaque(stored, slot, name))
                continue
            assert stored.tree is not None, "a field is stored with its tree"
            places = stored.tree.places
            arrays = _arrays(stored, slot, name)
            for place, x, kept in zip(places, arrays, stored.arrays, strict=True):
                if not _alike(x, kept):
                    raise ValueError(
                        f"params and state do not match at `{place.leaf.path}`: {name} has "
                        f"{_text(x)}, and for these params it would have {_text(kept)}"
                    )
            pairs = zip(arrays, places, strict=True)
            tensors = [_entered(x, place.leaf.dtype) for x, place in pairs]
            inside.append(Field(tensors, stored.tree))
        entered: Slots = self.structure.unflatten(inside)
        return entered

    def adopt(self, slots: Slots) -> Slots:
        """Slots of the same program and weights in the places that they have here.

        Raises ValueError as `enter` does.
        """
        made = []
        for stored, slot in zip(self.stored, self._flat(slots), strict=True):
            if stored.tree is not None:
                name = f"slot `{stored.name}` of the state"
                _check_weights(slot, stored.tree, name)
                tensors = stored.tree.flatten(slot.tree if isinstance(slot, Joined) else slot, name)
                _check_packed(stored, tensors, name)
                slot = shown(Field(stored.tree.join(tensors), stored.tree))
            made.append(slot)
        adopted: Slots = self.structure.unflatten(made)
        jax.eval_shape(self.enter, adopted)
        return adopted

    def _flat(self, slots: Slots) -> list[Any]:
        try:
            found: list[Any] = self.structure.flatten_up_to(slots)
        except (ValueError, TypeError) as error:
            raise ValueError(f"the state is not of this optimizer: {error}") from None
        return found


def _is_field(node: Any) -> bool:
    return isinstance(node, Field | Opaque)


def _arrays(stored: _Stored, slot: Any, name: str) -> Sequence[Any]:
    """The array of each place of a field that the state keeps, which must be joined likewise."""
    tree = stored.tree
    assert tree is not None, "a field is stored with its tree"
    _check_weights(slot, tree, name)
    joined = slot if isinstance(slot, Joined) else None
    if has_joint(tree, stored.arrays or ()):
        if joined is not None and joined.beside == tree:
            return joined.tensors
    elif joined is None:
        return tree.join(tree.flatten(slot, name))
    raise ValueError(
        f"{name} lies in other stacks or packs than this optimizer keeps; "
        "convert the state: optimizer.adopt(state, params)"
    )


def _check_weights(slot: Any, tree: Tree, name: str) -> None:
    """Raise ValueError for a slot, in stacks or packs, of other weights than those of a tree."""
    if not isinstance(slot, Joined):
        return
    tree.flatten(slot.beside.unflatten([0] * len(slot.beside.leaves)), name)
    for its, own in zip(slot.beside.leaves, tree.leaves, strict=True):
        if its.shape != own.shape:
            raise ValueError(
                f"params and state do not match at `{own.path}`: {name} is for shape "
                f"{its.shape}, and these params have {own.shape}"
            )


def _check_packed(stored: _Stored, tensors: Sequence[Any], name: str) -> None:
    """Raise ValueError for tensors that would be packed and have not the shapes of a pack.

    In the pack it would not be seen: as many elements in another order are as long a vector.
    """
    assert stored.tree is not None, "a field is stored with its tree"
    for place, kept in zip(stored.tree.places, stored.arrays or (), strict=True):
        for i, shape in zip(place.members, place.shapes, strict=False):
            x, own = tensors[i], kept and _Kept(shape, kept.dtype)
            if not _alike(x, own):
                raise ValueError(
                    f"params and state do not match at `{stored.tree.leaves[i].path}`: {name} has "
                    f"{_text(x)}, and for these params it would have {_text(own)}"
                )


def _opaque(stored: _Stored, slot: Any, name: str) -> Opaque:
    """The state of a transformation, which must be of these weights to the last array."""
    keyed, structure = jax.tree_util.tree_flatten_with_path(slot)
    if structure != stored.opaque:
        raise ValueError(f"{name} is not of this transformation and these params")
    for (keys, x), kept in zip(keyed, stored.arrays or (), strict=True):
        if not _alike(x, kept):
            raise ValueError(
                f"params and state do not match: {name} has {_text(x)} at `{path_text(keys)}`, "
                f"and for these params it would have {_text(kept)}"
            )
    return Opaque(slot)


def _stored(name: str, slot: Any) -> _Stored:
    if isinstance(slot, Opaque):
        leaves, structure = jax.tree.flatten(slot.tree)
        return _Stored(name, tuple(_Kept(x.shape, x.dtype) for x in leaves), None, structure)
    if not isinstance(slot, Field):
        return _Stored(name, None, _plain_dtype(slot))
    arrays = (
        None
        if x is None
        else _Kept(
            x.shape,
            _kept_dtype(slot, place.leaf.dtype) if _is_float(x.dtype) else x.dtype,
        )
        for x, place in zip(slot.tensors, slot.tree.places, strict=True)
    )
    return _Stored(name, tuple(arrays), tree=slot.tree)


def _kept_dtype(slot: Field, weight: Any) -> Any:
    """The dtype in which a field of floats is kept beside a weight."""
    return compute_dtype(weight) if slot.declared == WIDENED else jnp.dtype(slot.declared or weight)


def _plain_dtype(slot: Any) -> Any:
    dtype = jnp.result_type(slot)
    return scalar_dtype() if _is_float(dtype) and np.ndim(slot) == 0 else dtype


def _is_float(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating))


def _left(x: Any, dtype: Any) -> Any:
    """An array as it is stored: for int8 the nearest whole number from -127 to 127, 0 for NaN."""
    if dtype == jnp.int8 and _is_float(x.dtype):
        x = jnp.where(jnp.isnan(x), 0, jnp.clip(jnp.round(x), -127, 127))
    return cast(x, dtype)


def _entered(x: Any, weight: str) -> Any:
    """A stored array as a step computes with it: floats at least as wide as the weight."""
    if x is not None and x.dtype == jnp.int8:
        return cast(x, compute_dtype(weight))
    if x is None or not _is_float(x.dtype):
        return x
    return cast(x, jnp.promote_types(compute_dtype(x.dtype), compute_dtype(weight)))


def _alike(x: Any, kept: _Kept | None) -> bool:
    if x is None or kept is None:
        return x is kept
    return hasattr(x, "dtype") and x.dtype == kept.dtype and x.shape == kept.shape


def _text(x: Any) -> str:
    if x is None:
        return "no tensor"
    shape = getattr(x, "shape", None)
    return type(x).__name__ if shape is None else f"{x.dtype}[{','.join(map(str, shape))}]"
