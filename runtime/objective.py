"""What the user minimises: a loss of the weights, whole or split at the model's outputs."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from types import MethodType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from .measured import Measured, measurements
from .tree import PyTree, path_text

Sampler: TypeAlias = Callable[[PyTree, PyTree, jax.Array], PyTree]
"""`f(outputs, batch, key)`: the batch with labels drawn from the model in place of its own."""


class Inputs(NamedTuple):
    """What the model sees beside the weights; the same for all oracles of a step."""

    batch: PyTree
    key: jax.Array | None = None
    model_state: PyTree = None


class Beside(NamedTuple):
    """What the model returns beside its value."""

    aux: Any = None
    model_state: PyTree = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Objective:
    """The objective of a training run, in one of two forms.

    `Objective(loss=f)` with `f(params, batch)` that returns the loss, or the loss and something
    for the report. `Objective(outputs=f, loss=l)` with `f(params, batch)` that returns the
    model's outputs and `l(outputs, batch)` that returns the loss: the form that optimizers which
    look inside the model need, and which serves all others too. `f`, the function of the weights,
    is the *model* in what follows.

    `key=True`: the model takes a random key as its keyword argument `key`, as dropout needs. All
    oracles of a step see the same key, so they are oracles of one function; the next step another.
    `model_state=True`: the model takes what it keeps between steps (the averages of batch norm) as
    the keyword argument `model_state`, and returns its next value last. All oracles of a step see
    the old one; the report has the one that the pass at the weights returned.
    `aux=True`: the model returns something for the report after its value: `(outputs, aux)`, or
    `(outputs, aux, model_state)`.

    `batch_axis` says along which axis the arrays of a batch hold its examples, for optimizers that
    look at single examples. The loss is then a mean over examples, and is evaluated on batches of
    one; arrays without that axis are the same for all examples.
    `micro_batches=n` evaluates n slices of the batch along that axis one after the other, and
    gives their means: the values of the whole batch, in the memory of a slice.
    `remat` is True, to keep no intermediate values between evaluation and derivative, or a policy
    of `jax.checkpoint_policies`, which keeps some.
    `measured=m` with `m(aux)` that returns what the model measures of its layers, a tree that is
    built like the weights with the names of the measurements at its end, for optimizers that ask
    for it. Of several micro-batches the largest counts.
    `sampler=s` with `s(outputs, batch, key)` that returns the batch with labels drawn from the
    model's own distribution, for optimizers that estimate a Fisher matrix.

    Two objectives of the same functions and options are equal, so that neither compiles anew.
    """

    loss: Callable[..., Any]
    outputs: Callable[..., Any] | None = None
    aux: bool = False
    key: bool = False
    model_state: bool = False
    batch_axis: int | None = None
    micro_batches: int = 1
    remat: bool | Callable[..., Any] = False
    sampler: Sampler | None = None
    measured: Callable[[Any], PyTree] | None = None

    def __post_init__(self) -> None:
        for name in ("loss", "outputs", "sampler", "measured"):
            function = getattr(self, name)
            if not callable(function) and (name == "loss" or function is not None):
                found = type(function).__name__
                raise TypeError(f"`{name}` of an objective is a function, not a {found}")
        for name in ("aux", "key", "model_state"):
            flag = getattr(self, name)
            if not isinstance(flag, bool):
                found = type(flag).__name__
                raise TypeError(f"`{name}` of an objective is True or False, not a {found}")
        if not isinstance(self.remat, bool) and not callable(self.remat):
            raise TypeError(
                "`remat` of an objective is True, False or a policy of "
                f"jax.checkpoint_policies, not a {type(self.remat).__name__}"
            )
        if self.batch_axis is not None and not _is_count(self.batch_axis, 0):
            raise TypeError(f"`batch_axis` is an axis, counted from 0, and not {self.batch_axis!r}")
        if not _is_count(self.micro_batches, 1):
            raise TypeError(
                f"`micro_batches` is a number of slices, and not {self.micro_batches!r}"
            )
        if self.micro_batches > 1 and self.batch_axis is None:
            raise ValueError(
                "`micro_batches` slices a batch along the axis of its examples; "
                "say which: optc.Objective(..., batch_axis=0)"
            )
        if self.measured is not None and not self.aux:
            raise ValueError(
                "`measured` reads what the model returns beside its value; "
                "say that it does: optc.Objective(..., aux=True)"
            )
        if self.sampler is not None and not self.split:
            raise ValueError(
                "a `sampler` draws labels from the model's outputs; "
                "give them apart: optc.Objective(outputs=..., loss=..., sampler=...)"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Objective):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        said = ((field, getattr(self, field.name)) for field in fields(self))
        shown = (f"{field.name}={x!r}" for field, x in said if x is not field.default)
        return f"Objective({', '.join(shown)})"

    @property
    def split(self) -> bool:
        """Whether outputs and loss are given apart."""
        return self.outputs is not None

    def model(self, params: PyTree, inputs: Inputs) -> tuple[Any, Beside]:
        """What the function of the weights returns, outputs or the loss, and what beside it."""
        function = self.loss if self.outputs is None else self.outputs
        keywords: dict[str, Any] = {"key": inputs.key} if self.key else {}
        if self.model_state:
            keywords["model_state"] = inputs.model_state
        value, beside = self._parts(function(params, inputs.batch, **keywords))
        if self.model_state:
            _check_alike(inputs.model_state, beside.model_state)
        return (value if self.split else _scalar(value)), beside

    def value(
        self, params: PyTree, batch: PyTree, *, key: Any = None, model_state: PyTree = None
    ) -> tuple[jax.Array, Beside]:
        """The loss at some weights, and what the model returns beside its value."""
        value, beside = self.model(params, Inputs(batch, key, model_state))
        return (self.loss_of(value, batch) if self.split else value), beside

    def loss_of(self, outputs: PyTree, batch: PyTree) -> jax.Array:
        """The loss of some outputs of the model."""
        return _scalar(self.loss(outputs, batch))

    def sampled(self, outputs: PyTree, batch: PyTree, key: jax.Array) -> PyTree:
        """The batch with labels that the sampler draws for some outputs of the model."""
        assert self.sampler is not None, "needs are checked where objectives come in"
        return self.sampler(outputs, batch, key)

    def measurements(self, aux: Any) -> Measured:
        """What the model measured, of what it returned beside its value."""
        assert self.measured is not None, "needs are checked where objectives come in"
        return measurements(self.measured(aux))

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

    def _parts(self, returned: Any) -> tuple[Any, Beside]:
        names = [name for name in ("aux", "model_state") if getattr(self, name)]
        if not names:
            if self.split or not isinstance(returned, tuple):
                return returned, Beside()
            if len(returned) == 2:
                return returned[0], Beside(aux=returned[1])
            raise TypeError(
                "the loss of the objective returned a tuple of "
                f"{len(returned)}; it returns the loss, or (loss, aux)"
            )
        if not isinstance(returned, tuple) or len(returned) != 1 + len(names):
            value = "outputs" if self.split else "loss"
            raise TypeError(
                f"the {value} of the objective returned {_kind(returned)}; "
                f"with {' and '.join(f'`{name}`' for name in names)} "
                f"it returns ({', '.join([value, *names])})"
            )
        return returned[0], Beside(**dict(zip(names, returned[1:], strict=True)))

    def _identity(self) -> tuple[Any, ...]:
        return tuple(_identity(getattr(self, field.name)) for field in fields(self))


def _kind(returned: Any) -> str:
    if isinstance(returned, tuple):
        return f"a tuple of {len(returned)}"
    return "one array" if isinstance(returned, jax.Array) else f"a {type(returned).__name__}"


def _is_count(x: object, least: int) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x >= least


def _check_alike(before: PyTree, after: PyTree) -> None:
    """Raise ValueError if a model state did not come back as it was."""
    structures: list[Any] = [jax.tree.structure(tree) for tree in (before, after)]
    if structures[0] != structures[1]:
        raise ValueError(
            "the model returned a model state of another structure\n"
            f"  took: {structures[0]}\n  returned: {structures[1]}"
        )
    paths = jax.tree_util.tree_leaves_with_path(before)
    for (keys, old), new in zip(paths, jax.tree.leaves(after), strict=True):
        took, returned = (f"{jnp.result_type(x)}{list(np.shape(x))}" for x in (old, new))
        if took != returned:
            place = path_text(keys)
            name = f"the model state `{place}`" if place else "the model state"
            raise ValueError(f"{name} was {took}, and the model returned {returned}")


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


def _identity(option: Any) -> Any:
    # Functions are the same by what they are and not by `==`, which a module of arrays may define.
    # Each access to a bound method makes a new object: its parts tell whether it is the same.
    if isinstance(option, MethodType):
        return id(option.__self__), id(option.__func__)
    return id(option) if callable(option) else option
