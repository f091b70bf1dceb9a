"""The objective at one point on a batch in slices: the same values in the memory of one slice.

The loss is a mean over examples, so what is a derivative of it is the mean over slices of equal
size. Nothing is kept of a slice but what it adds: each product evaluates the model again. Of n
slices, the first holds the examples 0, n, 2 n, ...: where a batch lies on several devices, each
slice lies on all of them as the batch does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from .alignment import Covariance, alignment
from .evaluation import FUNCTIONS, Tensors, evaluate
from .examples import Examples
from .field import Field, Mask, scalar_dtype
from .objective import Beside, Inputs, Objective
from .reduce import greatest
from .tree import PyTree, Tree, path_text


def evaluate_slices(
    objective: Objective, inputs: Inputs, tree: Tree, tensors: Tensors, wanted: frozenset[str]
) -> dict[str, Any]:
    """What `evaluate` gives, slice by slice.

    `beside` it, `aux` has one entry for each slice along a first axis, and the model state is the
    mean of what the slices returned (of whole numbers, what the last returned): each slice sees the
    old one. Each slice has a key of its own, the same for all oracles of a step.
    """
    slices = _Slices(objective, inputs, tree, tensors)
    found = slices.values(wanted & _VALUES) if wanted & _VALUES else {}
    if "examples" in wanted:
        found["examples"] = jnp.asarray(objective.examples(inputs.batch), scalar_dtype())
    return found | {name: slices.function(name) for name in wanted & FUNCTIONS}


_VALUES = frozenset({"loss", "grad", "outputs", "outputs_grad", "measured"})


class _Slices:
    def __init__(self, objective: Objective, inputs: Inputs, tree: Tree, tensors: Tensors) -> None:
        self._objective = objective
        self._inputs = inputs
        self._tree = tree
        self._tensors = tensors
        self._number = objective.micro_batches
        examples = objective.examples(inputs.batch)
        self._size, left = divmod(examples, self._number)
        if left:
            raise ValueError(
                f"a batch of {examples} examples does not fall into "
                f"{self._number} micro-batches of one size"
            )

    def values(self, wanted: frozenset[str]) -> dict[str, Any]:
        """The values, made in one pass over the slices."""

        def one(k: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
            asked = self._ask(k, wanted)
            # Outputs that nobody wants together need not have examples.
            found = {name: asked[name] for name in (*wanted, "beside")}
            summed = {name: found.pop(name) for name in found.keys() & {"loss", "grad"}}
            return summed, found

        found: dict[str, Any]
        found, stacked = self._means(one)
        if "outputs" in stacked:
            found["outputs"] = self._together(stacked["outputs"])
        if "outputs_grad" in stacked:
            found["outputs_grad"] = self._together(self._shares(stacked["outputs_grad"]))
        if "measured" in stacked:
            largest = {key: greatest(x, (0,))[0] for key, x in stacked["measured"].items()}
            found["measured"] = largest
        beside: Beside = stacked["beside"]
        found["beside"] = beside._replace(model_state=_mean_state(beside.model_state))
        return found

    def function(self, oracle: str) -> Callable[..., Any]:
        """An oracle that is a function."""
        match oracle:
            case "pullback":
                return self._pullback
            case "sampled_outputs_grad":
                return self._sampled_outputs_grad
            case "feature_alignment":
                return self._feature_alignment
            case "fisher_rows" | "fisher_columns":
                return partial(self._fisher, oracle)
            case "per_example_grad":
                return lambda: _ExamplesInSlices(self)
            case _:
                return lambda v: self.mean(oracle, lambda product: product(v))

    def mean(self, oracle: str, use: Callable[[Any], Any]) -> Any:
        """The mean over the slices of what is made of an oracle's answer at each."""
        return self._means(lambda k: (use(self._ask(k, frozenset({oracle}))[oracle]), None))[0]

    def _pullback(self, cotangent: PyTree) -> Field:
        def one(k: jax.Array) -> tuple[Field, None]:
            pull = self._ask(k, frozenset({"pullback"}))["pullback"]
            # A sum over examples, where the others are means over slices.
            part = jax.tree.map(lambda x: self._number * x, self._part(cotangent, k))
            return pull(part), None

        field: Field = self._means(one)[0]
        return field

    def _sampled_outputs_grad(self, key: jax.Array) -> PyTree:
        def one(k: jax.Array) -> tuple[None, PyTree]:
            ask = frozenset({"sampled_outputs_grad"})
            return None, self._ask(k, ask)["sampled_outputs_grad"](jax.random.fold_in(key, k))

        return self._together(self._shares(self._means(one)[1]))

    def _feature_alignment(
        self, key: jax.Array, x: Field, samples: int, power: ArrayLike = 1, pearson: bool = False
    ) -> Field:
        def one(k: jax.Array) -> tuple[Covariance, None]:
            ask = self._ask(k, frozenset({"feature_covariance"}))["feature_covariance"]
            return ask(jax.random.fold_in(key, k), samples), None

        return alignment(self._means(one)[0], x, power, pearson)

    def _fisher(self, oracle: str, key: jax.Array, where: Mask) -> Field:
        draw = partial(jax.random.fold_in, key)
        factor: Field = self._means(
            lambda k: (self._ask(k, frozenset({oracle}))[oracle](draw(k), where), None)
        )[0]
        return factor

    def _shares(self, derivatives: PyTree) -> PyTree:
        """Derivatives of the loss of a slice, which counts to the whole one as one of so many."""
        return jax.tree.map(lambda x: x / self._number, derivatives)

    def _means(self, one: Callable[[jax.Array], tuple[Any, Any]]) -> tuple[Any, Any]:
        """Of what `one` gives for each slice, the means of the first, and the second stacked."""

        def add(total: Any, k: jax.Array) -> tuple[Any, Any]:
            summed, beside = one(k)
            return jax.tree.map(jnp.add, total, summed), beside

        numbers = jnp.arange(self._number)
        shapes, _ = jax.eval_shape(one, numbers[0])
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        total, stacked = lax.scan(add, zeros, numbers)
        return jax.tree.map(lambda x: x / self._number, total), stacked

    def _ask(self, k: jax.Array, wanted: frozenset[str]) -> dict[str, Any]:
        batch, key, model_state = self._inputs
        key = None if key is None else jax.random.fold_in(key, k)
        inputs = Inputs(self._part(batch, k), key, model_state)
        return evaluate(self._objective, inputs, self._tree, self._tensors, wanted)

    def _part(self, tree: PyTree, k: jax.Array) -> PyTree:
        """One slice of the arrays that have examples, of a batch or of outputs."""

        def part(x: Any, axis: int | None) -> Any:
            if axis is None:
                return x
            shape = np.shape(x)
            by_slice = jnp.reshape(x, (*shape[:axis], self._size, self._number, *shape[axis + 1 :]))
            return lax.dynamic_index_in_dim(by_slice, k, axis + 1, keepdims=False)

        return jax.tree.map(part, tree, self._objective.axes(tree))

    def _together(self, stacked: PyTree) -> PyTree:
        """The outputs of all slices as outputs of the whole batch."""
        axis = self._objective.batch_axis or 0

        def together(keys: Any, x: jax.Array) -> jax.Array:
            shape = np.shape(x)[1:]
            if len(shape) <= axis or shape[axis] != self._size:
                place = path_text(keys)
                name = f"outputs `{place}`" if place else "outputs"
                raise ValueError(
                    f"the model's {name} of a micro-batch of {self._size} have the shape {shape}: "
                    f"with `micro_batches` their axis {axis} is that of the examples"
                )
            merged = (*shape[:axis], self._size * self._number, *shape[axis + 1 :])
            return jnp.moveaxis(x, 0, axis + 1).reshape(merged)

        whole: PyTree = jax.tree_util.tree_map_with_path(together, stacked)
        return whole


class _ExamplesInSlices(Examples):
    """The gradients of the examples of a slice at a time, made anew for each mean over them."""

    __slots__ = ("_slices",)

    def __init__(self, slices: _Slices) -> None:
        self._slices = slices

    def mean(self, function: Callable[[Field], Any] | None = None) -> Any:
        return self._slices.mean("per_example_grad", lambda grads: grads().mean(function))


def _mean_state(stacked: PyTree) -> PyTree:
    def mean(x: jax.Array) -> jax.Array:
        return jnp.mean(x, axis=0) if jnp.issubdtype(x.dtype, jnp.inexact) else x[-1]

    return jax.tree.map(mean, stacked)
