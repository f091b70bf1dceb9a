"""One evaluation of the objective at one point, which all that is asked there shares."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .alignment import Covariance, alignment, covariance
from .curvature import curvature
from .examples import Examples
from .field import Field, Mask, scalar_dtype, widen
from .kronecker import Side, moment, rows
from .objective import Beside, Inputs, Objective
from .outputs import check_outputs
from .reduce import dot
from .tree import PyTree, Tree

Tensors: TypeAlias = tuple[jax.Array, ...]


def evaluate(
    objective: Objective, inputs: Inputs, tree: Tree, tensors: Tensors, wanted: frozenset[str]
) -> dict[str, Any]:
    """What is wanted at a point, values and functions, and what the model returned `beside`."""
    evaluation = _Evaluation(objective, inputs, tree, tensors)
    found = evaluation.evaluate(wanted)
    return found | {name: getattr(evaluation, name) for name in wanted & FUNCTIONS}


FUNCTIONS = frozenset(
    {
        "pullback",
        "hvp",
        "curvature",
        "ggn",
        "ggn_curvature",
        "sampled_outputs_grad",
        "per_example_grad",
        "feature_alignment",
        "feature_covariance",
        "fisher_rows",
        "fisher_columns",
    }
)
"""The oracles that are functions."""


class _Evaluation:
    """The objective at one point, on one batch, in the weights' own dtypes.

    The model is evaluated once, in `evaluate`, and linearised there as far as is wanted: one
    reverse pass over outputs or loss (`pull`), and where products with second derivatives are
    wanted, its derivative along the weights (`push`). What comes later only applies those two. They
    are never made later: that could be inside a loop, whose values must not leave it.
    """

    def __init__(self, objective: Objective, inputs: Inputs, tree: Tree, tensors: Tensors) -> None:
        self._objective = objective
        self._inputs = inputs
        self._tree = tree
        self._tensors = tensors
        self._pull: Callable[[PyTree], tuple[Tensors]] | None = None
        self._push: Callable[[Tensors], dict[str, Any]] | None = None
        self._outputs: PyTree = None

    def evaluate(self, wanted: frozenset[str]) -> dict[str, Any]:
        pushed = frozenset(value for ask in wanted for value in _PUSHED.get(ask, ()))
        made = wanted | pushed | {needed for ask in wanted for needed in _NEEDED.get(ask, ())}
        found: dict[str, Any]
        if pushed:

            def derivatives(x: Tensors) -> tuple[dict[str, Any], Any]:
                found, pull = self._evaluate(x, made)
                return {name: found[name] for name in pushed}, (found, pull)

            # The pullback leaves as a tree of its residuals, so it is that of the same evaluation.
            _, self._push, (found, self._pull) = jax.linearize(
                derivatives, self._tensors, has_aux=True
            )
        else:
            found, self._pull = self._evaluate(self._tensors, made)
        self._outputs = found.get("outputs")
        if "loss" in found:
            found["loss"] = found["loss"].astype(scalar_dtype())
        if "grad" in found:
            found["grad"] = self._field(found["grad"])
        if "measured" in wanted:
            found["measured"] = self._objective.measurements(found["beside"].aux)
        if "examples" in wanted:
            found["examples"] = jnp.asarray(
                self._objective.examples(self._inputs.batch), scalar_dtype()
            )
        return found

    def pullback(self, cotangent: PyTree) -> Field:
        assert self._pull is not None, "asked at the point"
        return self._field(self._pull(cotangent)[0])

    def hvp(self, v: Field) -> Field:
        assert self._push is not None, "asked at the point"
        return self._field(self._push(self._tangent(v))["grad"])

    def curvature(self, v: Field) -> jax.Array:
        tangent = self._tangent(v)

        def product() -> jax.Array:
            _, product = jax.jvp(jax.grad(self._loss), (self._tensors,), (tangent,))
            return dot(v, self._field(product))

        return curvature(self._loss, self._tensors, tangent, product).astype(scalar_dtype())

    def ggn_curvature(self, v: Field) -> jax.Array:
        assert self._push is not None, "asked at the point"
        if jax.sharding.get_abstract_mesh().manual_axes:
            # In a shard_map each device has a part of the outputs: the way back adds up all parts.
            return dot(v, self.ggn(v)).astype(scalar_dtype())
        push = self._push(self._tangent(v))
        products = jax.tree.map(jnp.vdot, push["outputs"], push["outputs_grad"])
        found: jax.Array = jax.tree.reduce(jnp.add, products)
        return found.astype(scalar_dtype())

    def ggn(self, v: Field) -> Field:
        assert self._push is not None, "asked at the point"
        # The derivative of the loss in the outputs changes by B J v along v.
        return self.pullback(self._push(self._tangent(v))["outputs_grad"])

    def sampled_outputs_grad(self, key: jax.Array) -> PyTree:
        drawn = self._objective.sampled(self._outputs, self._inputs.batch, key)
        return jax.grad(self._objective.loss_of)(self._outputs, drawn)

    def per_example_grad(self) -> Examples:
        objective, (batch, key, model_state) = self._objective, self._inputs
        examples = objective.examples(batch)
        keys = None if key is None else _key_of_each(key, examples)

        def one(example: PyTree, key: jax.Array | None) -> Field:
            inputs = Inputs(objective.batch_of_one(example, batch), key, model_state)
            alone = _Evaluation(objective, inputs, self._tree, self._tensors)
            return self._field(jax.grad(alone._loss)(self._tensors))

        axes = objective.axes(batch), None if key is None else 0
        return Examples(jax.vmap(one, in_axes=axes)(batch, keys))

    def feature_covariance(self, key: jax.Array, samples: int) -> Covariance:
        objective, (batch, own, model_state) = self._objective, self._inputs
        examples = objective.examples(batch)
        draws = _key_of_each(key, examples)
        keys = None if own is None else _key_of_each(own, examples)

        def one(example: PyTree, own: jax.Array | None, draw: jax.Array) -> Covariance:
            inputs = Inputs(objective.batch_of_one(example, batch), own, model_state)

            def model(x: Tensors) -> PyTree:
                return objective.model(self._tree.unflatten(x), inputs)[0]

            return covariance(model, self._tensors, draw, samples)

        axes = objective.axes(batch), None if own is None else 0, 0
        found = jax.vmap(one, in_axes=axes)(batch, keys, draws)
        mean: Covariance = jax.tree.map(lambda x: jnp.mean(x, axis=0), found)
        return mean

    def feature_alignment(
        self, key: jax.Array, x: Field, samples: int, power: ArrayLike = 1, pearson: bool = False
    ) -> Field:
        return alignment(self.feature_covariance(key, samples), x, power, pearson)

    def fisher_rows(self, key: jax.Array, where: Mask) -> Field:
        return self._fisher(key, 0, where)

    def fisher_columns(self, key: jax.Array, where: Mask) -> Field:
        return self._fisher(key, 1, where)

    def _fisher(self, key: jax.Array, side: Side, where: Mask) -> Field:
        objective, (batch, own, model_state) = self._objective, self._inputs
        examples = objective.examples(batch)
        draws = _key_of_each(key, examples)
        keys = None if own is None else _key_of_each(own, examples)
        wanted = where.members(self._tree)

        def one(example: PyTree, own: jax.Array | None, draw: jax.Array) -> Any:
            alone = objective.batch_of_one(example, batch)
            inputs = Inputs(alone, own, model_state)

            def model(x: Tensors) -> PyTree:
                return objective.model(self._tree.unflatten(x), inputs)[0]

            def slope(outputs: PyTree) -> PyTree:
                drawn = objective.sampled(outputs, alone, draw)
                return jax.grad(objective.loss_of)(outputs, drawn)

            return rows(model, slope, self._tensors, side, wanted)

        axes = objective.axes(batch), None if own is None else 0, 0
        found = jax.vmap(one, in_axes=axes)(batch, keys, draws)
        return Field.of([None if x is None else moment(x) for x in found], self._tree)

    def _evaluate(self, x: Tensors, wanted: frozenset[str]) -> tuple[dict[str, Any], Any]:
        """The values, and the pullback of the outputs where it was made (else None)."""
        if self._objective.split:
            return self._evaluate_split(x, wanted)
        found: dict[str, Any] = {}
        if "grad" in wanted:
            value = jax.value_and_grad(self._model, has_aux=True)
            (found["loss"], found["beside"]), found["grad"] = value(x)
        elif wanted & {"loss", "measured"}:
            found["loss"], found["beside"] = self._model(x)
        return found, None

    def _evaluate_split(self, x: Tensors, wanted: frozenset[str]) -> tuple[dict[str, Any], Any]:
        found: dict[str, Any] = {}
        pull: Any = None
        if wanted & {"pullback", "grad"}:
            found["outputs"], pull, found["beside"] = jax.vjp(self._model, x, has_aux=True)
        elif wanted & {"loss", "outputs", "outputs_grad", "measured"}:
            found["outputs"], found["beside"] = self._model(x)
        if wanted & _OF_OUTPUTS:
            check_outputs(found["outputs"])

        def head(outputs: PyTree) -> jax.Array:
            return self._objective.loss_of(outputs, self._inputs.batch)

        if wanted & {"outputs_grad", "grad"}:
            # A loss of the weights may be of whole numbers too, such as lengths.
            value = jax.value_and_grad(head, allow_int=True)
            found["loss"], found["outputs_grad"] = value(found["outputs"])
        elif "loss" in wanted:
            found["loss"] = head(found["outputs"])
        if "grad" in wanted:
            (found["grad"],) = pull(found["outputs_grad"])
        return found, pull

    def _model(self, x: Tensors) -> tuple[Any, Beside]:
        """The outputs, or the loss of an objective that is whole, and what comes beside them."""

        def model(x: Tensors) -> tuple[Any, Beside]:
            return self._objective.model(self._tree.unflatten(x), self._inputs)

        remat = self._objective.remat
        if remat is False:
            return model(x)
        kept: tuple[Any, Beside] = jax.checkpoint(model, policy=None if remat is True else remat)(x)
        return kept

    def _loss(self, x: Tensors) -> jax.Array:
        value, _ = self._model(x)
        objective = self._objective
        loss: jax.Array = objective.loss_of(value, self._inputs.batch) if objective.split else value
        return loss

    def _tangent(self, v: Field) -> Tensors:
        pairs = zip(v.members, self._tensors, strict=True)
        return tuple(jnp.zeros_like(x) if t is None else t.astype(x.dtype) for t, x in pairs)

    def _field(self, tensors: Tensors) -> Field:
        return Field.of([widen(x) for x in tensors], self._tree)


def _key_of_each(key: jax.Array, examples: int) -> jax.Array:
    """A key for each example: it draws for itself, as it does in a batch."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(examples))


_OF_OUTPUTS = frozenset({"outputs", "outputs_grad", "pullback", "sampled_outputs_grad"})
"""What speaks of the outputs themselves, which then must be floats."""

_PUSHED: Mapping[str, tuple[str, ...]] = {
    "hvp": ("grad",),
    "ggn": ("outputs_grad",),
    "ggn_curvature": ("outputs", "outputs_grad"),
}
"""Of which values each product takes the derivative along the weights."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "ggn": ("pullback",),
    # The outputs of a `jax.custom_vjp` have a forward derivative only where its own way back was
    # asked for. Where nobody goes it, XLA drops what it keeps.
    "ggn_curvature": ("pullback",),
    "sampled_outputs_grad": ("outputs",),
}
