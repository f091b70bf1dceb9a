"""Oracles: what a step may ask of the objective, at the weights or at another point.

Everything asked at one point shares one evaluation, so a plain program traces the user's loss
once. The user's functions see weights of the weights' own dtypes; gradients come back at least
float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from .curvature import curvature
from .field import Field, cast, scalar_dtype, widen
from .objective import Objective
from .reduce import dot
from .tree import PyTree, Tree

Tensors: TypeAlias = tuple[jax.Array, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What a caller already knows at the weights: the gradient, and perhaps the loss."""

    grad: Field
    loss: jax.Array | None


class Oracles:
    """The oracles of one step; all of them see the same batch.

    `objective` is None, with the sentence that says what is missing in `unavailable`, where the
    caller gave no means to evaluate anything. `key` is the key of the step in a program that
    draws random numbers. `aux` is what the user's loss returned beside the loss at the weights.
    """

    def __init__(
        self,
        weights: Field,
        objective: Objective | None,
        batch: PyTree,
        *,
        key: jax.Array | None = None,
        given: Given | None = None,
        unavailable: str = "",
        needs: Mapping[str, str] | None = None,
    ) -> None:
        self.key = key
        self.aux: Any = None
        self._weights = weights
        self._objective = objective
        self._batch = batch
        self._given = given
        self._unavailable = unavailable
        self._needs = needs or {}

    def at(self, point: Field, *asks: str) -> "Point":
        """What is asked at a point, by name.

        "loss", "grad", "outputs", "outputs_grad" and "examples" become attributes; "pullback",
        "hvp", "curvature", "ggn", "ggn_curvature" and "per_example_mean" functions. A tensor that
        the point leaves out is that of the weights.
        """
        known: dict[str, Any] = {}
        at_weights = point is self._weights
        if at_weights and self._given is not None:
            known["grad"] = self._given.grad
            if self._given.loss is not None:
                known["loss"] = self._given.loss
            elif "loss" not in self._needs:
                # Asked for the report alone: not worth an evaluation that the caller spared.
                known["loss"] = jnp.full((), jnp.nan, scalar_dtype())
        wanted = frozenset(asks) - known.keys()
        if not wanted:
            return Point(known, None)
        evaluation = self._evaluation(point, wanted)
        found = evaluation.evaluate(wanted)
        aux = found.pop("aux", None)
        if at_weights and aux is not None:
            self.aux = aux
        return Point(found | known, evaluation)

    def loss_at(self, params: PyTree) -> jax.Array:
        """The loss at weights that are given as a tree like the user's."""
        tree = self._weights.tree
        point = Field(tree.flatten(params, "the weights"), tree)
        evaluation = self._evaluation(point, frozenset({"loss"}))
        loss: jax.Array = evaluation.evaluate(frozenset({"loss"}))["loss"]
        return loss

    def _evaluation(self, point: Field, wanted: frozenset[str]) -> "_Evaluation":
        if self._objective is None:
            oracle = sorted(wanted)[0]
            stage = self._needs.get(oracle, "the report")
            raise ValueError(
                f"{self._unavailable}: {stage} asks for the oracle `{oracle}`, "
                "which the given gradients do not answer"
            )
        pairs = zip(point.tensors, self._weights.like, point.tree.leaves, strict=True)
        tensors = tuple(
            cast(w if x is None else x, leaf.dtype)  # the weights have every tensor
            for x, w, leaf in pairs
        )
        return _Evaluation(self._objective, self._batch, point.tree, tensors)


class Point:
    """What was asked at one point of the weights."""

    loss: jax.Array
    grad: Field
    outputs: PyTree
    outputs_grad: PyTree
    examples: jax.Array

    def __init__(self, found: Mapping[str, Any], evaluation: "_Evaluation | None") -> None:
        self.__dict__.update(found)
        self._evaluation = evaluation

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f'`{name}` was not asked at this point: oracles.at(point, "{name}")')

    def pullback(self, cotangent: PyTree) -> Field:
        """The transposed Jacobian of the outputs times a derivative in the outputs."""
        return self._evaluated("pullback").pullback(cotangent)

    def hvp(self, v: Field) -> Field:
        """The Hessian of the loss times `v`."""
        return self._evaluated("hvp").hvp(v)

    def curvature(self, v: Field) -> jax.Array:
        """v'Hv, the second derivative of the loss along `v`."""
        return self._evaluated("curvature").curvature(v)

    def ggn_curvature(self, v: Field) -> jax.Array:
        """v'J'BJv, the Gauss-Newton product's share of the curvature along `v`."""
        return self._evaluated("ggn_curvature").ggn_curvature(v)

    def ggn(self, v: Field) -> Field:
        """The Gauss-Newton product: J'BJ v with B the Hessian of the loss in the outputs."""
        return self._evaluated("ggn").ggn(v)

    def per_example_mean(self, function: Callable[[Field], Any]) -> Any:
        """The mean over the batch of a function of one example's gradient: a field or a number.

        The gradients of all examples exist at once, as many as the batch has.
        """
        return self._evaluated("per_example_mean").per_example_mean(function)

    def _evaluated(self, ask: str) -> "_Evaluation":
        if self._evaluation is None:
            raise AttributeError(f'`{ask}` was not asked at this point: oracles.at(point, "{ask}")')
        return self._evaluation


class _Evaluation:
    """One evaluation of the objective at one point, in the weights' own dtypes."""

    def __init__(self, objective: Objective, batch: PyTree, tree: Tree, tensors: Tensors) -> None:
        self._objective = objective
        self._batch = batch
        self._tree = tree
        self._tensors = tensors
        self._pull: Callable[[PyTree], Tensors] | None = None
        self._push_grad: Callable[[Tensors], Tensors] | None = None

    def evaluate(self, wanted: frozenset[str]) -> dict[str, Any]:
        """The values asked for; keeps the linearisations that the functions asked for need."""
        found = self._evaluate(wanted)
        if "examples" in wanted:
            found["examples"] = jnp.asarray(self._objective.examples(self._batch), scalar_dtype())
        return found

    def _evaluate(self, wanted: frozenset[str]) -> dict[str, Any]:
        if "hvp" in wanted:
            grad, self._push_grad, found = jax.linearize(
                lambda x: self._gradient(x, wanted | {"grad"}), self._tensors, has_aux=True
            )
            # What was linearised inside belongs to the linearisation around it.
            self._pull = None
            return {**found, "grad": self._field(grad)}
        if "grad" in wanted:
            grad, found = self._gradient(self._tensors, wanted)
            return found | {"grad": self._field(grad)}
        if wanted & {"outputs", "outputs_grad", "pullback"}:
            return self._split(self._tensors, wanted)
        if "loss" in wanted:
            return _named(self._objective.value(self._params(self._tensors), self._batch))
        return {}

    def pullback(self, cotangent: PyTree) -> Field:
        if self._pull is None:
            self._linearise_outputs(self._tensors)
        assert self._pull is not None
        return self._field(self._pull(cotangent))

    def hvp(self, v: Field) -> Field:
        if self._push_grad is None:
            _, self._push_grad = jax.linearize(jax.grad(self._loss), self._tensors)
        return self._field(self._push_grad(self._tangent(v)))

    def curvature(self, v: Field) -> jax.Array:
        tangent, product = self._tangent(v), lambda: dot(v, self.hvp(v))
        return curvature(self._loss, self._tensors, tangent, product).astype(scalar_dtype())

    def ggn_curvature(self, v: Field) -> jax.Array:
        outputs, push = jax.jvp(self._outputs, (self._tensors,), (self._tangent(v),))

        def head(outputs: PyTree) -> jax.Array:
            return self._objective.loss_of(outputs, self._batch)

        found = curvature(head, outputs, push, lambda: dot(v, self.ggn(v)))
        return found.astype(scalar_dtype())

    def ggn(self, v: Field) -> Field:
        outputs, push = jax.jvp(self._outputs, (self._tensors,), (self._tangent(v),))
        slope = jax.grad(lambda outputs: self._objective.loss_of(outputs, self._batch))
        _, curved = jax.jvp(slope, (outputs,), (push,))
        return self.pullback(curved)

    def per_example_mean(self, function: Callable[[Field], Any]) -> Any:
        def one(batch: PyTree) -> Any:
            batch = self._objective.batch_of_one(batch, self._batch)
            value = jax.grad(lambda x: self._objective.value(self._params(x), batch)[0])
            return function(self._field(value(self._tensors)))

        self._objective.examples(self._batch)
        found = jax.vmap(one, in_axes=(self._objective.axes(self._batch),))(self._batch)
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), found)

    def _gradient(self, x: Tensors, wanted: frozenset[str]) -> tuple[Tensors, dict[str, Any]]:
        if self._objective.split:
            found = self._split(x, wanted | {"outputs_grad", "pullback"})
            assert self._pull is not None
            return self._pull(found["outputs_grad"]), found
        value = jax.value_and_grad(self._value, has_aux=True)
        loss_and_aux, grad = value(x)
        return grad, _named(loss_and_aux)

    def _split(self, x: Tensors, wanted: frozenset[str]) -> dict[str, Any]:
        """What the two halves of a split objective give, each evaluated at most once."""
        outputs = self._linearise_outputs(x) if "pullback" in wanted else self._outputs(x)
        found = {"outputs": outputs}

        def head(outputs: PyTree) -> jax.Array:
            return self._objective.loss_of(outputs, self._batch)

        if "outputs_grad" in wanted:
            loss, found["outputs_grad"] = jax.value_and_grad(head)(outputs)
            return found | _named((loss, None))
        return found | _named((head(outputs), None)) if "loss" in wanted else found

    def _linearise_outputs(self, x: Tensors) -> PyTree:
        outputs, pull = jax.vjp(self._outputs, x)
        self._pull = lambda cotangent: pull(cotangent)[0]
        return outputs

    def _params(self, x: Tensors) -> PyTree:
        return self._tree.unflatten(x)

    def _outputs(self, x: Tensors) -> PyTree:
        assert self._objective.outputs is not None, "needs are checked where objectives come in"
        return self._objective.outputs(self._params(x), self._batch)

    def _value(self, x: Tensors) -> tuple[jax.Array, Any]:
        return self._objective.value(self._params(x), self._batch)

    def _loss(self, x: Tensors) -> jax.Array:
        return self._value(x)[0]

    def _tangent(self, v: Field) -> Tensors:
        pairs = zip(v.tensors, self._tensors, strict=True)
        return tuple(jnp.zeros_like(x) if t is None else t.astype(x.dtype) for t, x in pairs)

    def _field(self, tensors: Tensors) -> Field:
        return Field([widen(x) for x in tensors], self._tree)


def _named(loss_and_aux: tuple[jax.Array, Any]) -> dict[str, Any]:
    loss, aux = loss_and_aux
    return {"loss": loss.astype(scalar_dtype()), "aux": aux}
