"""What the user minimises: a loss of the weights, whole or split at the model's outputs."""

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .tree import PyTree, path_text

_EXAMPLES_ONLY = frozenset({"examples", "per_example_mean"})
_SPLIT_ONLY = frozenset({"outputs", "outputs_grad", "pullback", "ggn", "ggn_curvature"})


class Objective:
    """The objective of a training run, in one of two forms.

    `Objective(loss=f)` with `f(params, batch)` that returns the loss, or the loss and something
    for the report. `Objective(outputs=f, loss=l)` with `f(params, batch)` that returns the
    model's outputs and `l(outputs, batch)` that returns the loss: the form that optimizers which
    look inside the model need, and which serves all others too.

    `batch_axis` says along which axis the arrays of a batch hold its examples, for optimizers that
    look at single examples. The loss is then a mean over examples, and is evaluated on batches of
    one; arrays without that axis are the same for all examples.

    Two objectives of the same functions are equal, so that neither compiles anew.
    """

    __slots__ = ("batch_axis", "loss", "outputs")

    loss: Callable[..., Any]
    outputs: Callable[..., Any] | None
    batch_axis: int | None

    def __init__(
        self,
        *,
        loss: Callable[..., Any],
        outputs: Callable[..., Any] | None = None,
        batch_axis: int | None = None,
    ) -> None:
        for name, function in (("loss", loss), ("outputs", outputs)):
            if not callable(function) and not (name == "outputs" and function is None):
                raise TypeError(
                    f"`{name}` of an objective is a function, not a {type(function).__name__}"
                )
        if batch_axis is not None and (
            isinstance(batch_axis, bool) or not isinstance(batch_axis, int) or batch_axis < 0
        ):
            raise TypeError(f"`batch_axis` is an axis, counted from 0, and not {batch_axis!r}")
        object.__setattr__(self, "batch_axis", batch_axis)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "outputs", outputs)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an objective does not change: make another one")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Objective):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        outputs = f"outputs={self.outputs!r}, " if self.split else ""
        axis = "" if self.batch_axis is None else f", batch_axis={self.batch_axis}"
        return f"Objective({outputs}loss={self.loss!r}{axis})"

    @property
    def split(self) -> bool:
        """Whether outputs and loss are given apart."""
        return self.outputs is not None

    def value(self, params: PyTree, batch: PyTree) -> tuple[jax.Array, Any]:
        """The loss at some weights, and what the user's loss returns beside it (or None)."""
        if self.outputs is not None:
            return self.loss_of(self.outputs(params, batch), batch), None
        returned = self.loss(params, batch)
        if isinstance(returned, tuple):
            if len(returned) != 2:
                raise TypeError(
                    "the loss of the objective returned a tuple of "
                    f"{len(returned)}; it returns the loss, or (loss, aux)"
                )
            return _scalar(returned[0]), returned[1]
        return _scalar(returned), None

    def loss_of(self, outputs: PyTree, batch: PyTree) -> jax.Array:
        """The loss of some outputs of the model."""
        return _scalar(self.loss(outputs, batch))

    def axes(self, batch: PyTree) -> PyTree:
        """For each array of a batch, the axis of the examples, or None where it has none."""
        axis = self.batch_axis
        assert axis is not None, "needs are checked where objectives come in"
        return jax.tree.map(lambda x: axis if np.ndim(x) > axis else None, batch)

    def batch_of_one(self, example: PyTree, batch: PyTree) -> PyTree:
        """One example of a batch as a batch."""
        axis = self.batch_axis
        assert axis is not None, "needs are checked where objectives come in"
        return jax.tree.map(
            lambda x, whole: jnp.expand_dims(x, axis) if np.ndim(whole) > axis else x,
            example,
            batch,
        )

    def examples(self, batch: PyTree) -> int:
        """The number of examples of a batch. Raises ValueError where arrays differ in it."""
        axis = self.batch_axis
        assert axis is not None, "needs are checked where objectives come in"
        arrays = jax.tree.leaves(batch)
        sizes = sorted({np.shape(x)[axis] for x in arrays if np.ndim(x) > axis})
        if len(sizes) != 1:
            raise ValueError(
                f"the arrays of the batch have {sizes or 'no'} examples along axis {axis}"
            )
        return int(sizes[0])

    def _identity(self) -> tuple[Any, ...]:
        return _function_identity(self.outputs), _function_identity(self.loss), self.batch_axis


def check_objective(objective: Any, needs: Mapping[str, str]) -> Objective:
    """The objective, if it serves every oracle that a program needs.

    `needs` has the stage and spec line that asks for each oracle. Raises TypeError for what is
    not an objective and ValueError for one that is not split although it must be.
    """
    if not isinstance(objective, Objective):
        raise TypeError(
            f"`objective` is a {type(objective).__name__}; "
            "wrap the loss function: optc.Objective(loss=...)"
        )
    missing = [oracle for oracle in needs if oracle in _SPLIT_ONLY]
    if missing and not objective.split:
        oracle = missing[0]
        raise ValueError(
            f"the oracle `{oracle}`, which {needs[oracle]} asks for, needs the model's outputs; "
            "give them apart: optc.Objective(outputs=..., loss=...)"
        )
    single = [oracle for oracle in needs if oracle in _EXAMPLES_ONLY]
    if single and objective.batch_axis is None:
        oracle = single[0]
        raise ValueError(
            f"the oracle `{oracle}`, which {needs[oracle]} asks for, needs the examples of "
            "a batch; say where they are: optc.Objective(..., batch_axis=0)"
        )
    return objective


def check_batch(batch: PyTree) -> None:
    """Raise ValueError if an array of the batch has no examples, naming it."""
    for keys, leaf in jax.tree_util.tree_leaves_with_path(batch):
        shape = np.shape(leaf)
        if shape and shape[0] == 0:
            place = path_text(keys)
            name = f"batch leaf `{place}`" if place else "batch"
            raise ValueError(f"{name} is empty: its shape is {shape}")


def _scalar(loss: Any) -> jax.Array:
    try:
        array = jnp.asarray(loss)
    except (TypeError, ValueError):
        raise TypeError(
            f"the loss of the objective is a {type(loss).__name__}; it must be one float"
        ) from None
    if array.shape != () or not jnp.issubdtype(array.dtype, jnp.floating):
        found = f"{array.dtype}[{','.join(map(str, array.shape))}]"
        raise TypeError(f"the loss of the objective is {found}; it must be one float")
    return array


def _function_identity(function: Callable[..., Any] | None) -> tuple[int, int]:
    # Each access to a bound method makes a new object: its parts tell whether it is the same.
    if isinstance(function, MethodType):
        return id(function.__self__), id(function.__func__)
    return id(function), 0
