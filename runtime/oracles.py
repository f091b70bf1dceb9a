"""Oracles: what a step may ask of the objective, at the weights or at another point.

Everything asked at one point shares one evaluation, so a plain program traces the user's loss
once. The user's functions see weights of the weights' own dtypes; gradients come back at least
float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .border import arranged, moved
from .evaluation import evaluate
from .examples import Examples
from .field import Field, Mask, cast, scalar_dtype, zeros
from .kronecker import NoLayerError, no_layer
from .measured import measured
from .objective import Beside, Inputs, Objective
from .outputs import outputs_field, outputs_tree
from .slices import evaluate_slices
from .tree import PyTree, Tree


@dataclass(frozen=True, slots=True)
class Given:
    """What a caller already knows at the weights: the gradient, and perhaps the loss.

    With `answer` the caller also says what else is wanted at a point, as an evaluation would.
    """

    grad: Field
    loss: jax.Array | None
    answer: Callable[[Field, frozenset[str]], dict[str, Any]] | None = None


class Oracles:
    """The oracles of one step; all of them see the same batch.

    `objective` is None, with the sentence that says what is missing in `unavailable`, where the
    caller gave no means to evaluate anything. `key` is the key of the step in a program that
    draws random numbers; the model has one of its own, the same at all points. `beside` is what
    the model returned beside its value at the weights. The next weights are made in the places of
    `form`, each tensor in one of its own where that is not given.
    """

    def __init__(
        self,
        weights: Field,
        objective: Objective | None,
        batch: PyTree,
        *,
        key: jax.Array | None = None,
        model_key: jax.Array | None = None,
        model_state: PyTree = None,
        given: Given | None = None,
        unavailable: str = "",
        needs: Mapping[str, str] | None = None,
        form: Tree | None = None,
    ) -> None:
        self.key = key
        self.beside: Beside | None = None
        self._weights = weights
        # Here and not at a point, which may be inside a loop, and once for all points.
        self._own = weights.members if objective is not None else ()
        self._objective = objective
        self._inputs = Inputs(batch, model_key, model_state)
        self._given = given
        self._unavailable = unavailable
        self._needs = needs or {}
        self._form = weights.tree.plain if form is None else form

    def moved(self, w: Field, step: Field) -> Field:
        """Where a step leads that is taken now and then: the next weights.

        The step itself for a caller who gave the gradient, and asks by how much weights change.
        """
        return step if self._given is not None else moved(w, step, self._form)

    def unmoved(self, w: Field) -> Field:
        """Where no step leads: the weights, or zeros for a caller who asks for the step."""
        return zeros(w) if self._given is not None else arranged(w, self._form)

    def at(self, point: Field, *asks: str) -> "Point":
        """What is asked at a point, by name.

        A tensor that the point leaves out is that of the weights.
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
            return Point(known)
        found = self._evaluate(point, wanted)
        beside = found.pop("beside", None)
        # A later evaluation may be within a condition or a loop, whose values must not leave it.
        if at_weights and self.beside is None:
            self.beside = beside
        asked = {name: found[name] for name in wanted}
        for name in wanted & {"fisher_rows", "fisher_columns"}:
            asked[name] = self._fisher(found[name], self._needs.get(name, "the program"))
        return Point(_with_outputs_as_fields(asked) | known)

    def loss_at(self, params: PyTree) -> jax.Array:
        """The loss at weights that are given as a tree like the user's."""
        tree = self._weights.tree
        point = Field.of(tree.flatten(params, "the weights"), tree)
        loss: jax.Array = self._evaluate(point, frozenset({"loss"}))["loss"]
        return loss

    def _fisher(
        self, factor: Callable[[jax.Array, Mask], Field], stage: str
    ) -> Callable[[jax.Array, int, Mask], Field]:
        def asked(key: jax.Array, site: int, where: Mask) -> Field:
            try:
                return factor(jax.random.fold_in(key, site), where)
            except NoLayerError as error:
                leaf = self._weights.tree.leaves[error.weight]
                raise ValueError(no_layer(leaf.path, error.why, stage)) from None

        return asked

    def _evaluate(self, point: Field, wanted: frozenset[str]) -> dict[str, Any]:
        if self._given is not None and self._given.answer is not None:
            return self._given.answer(point, wanted)
        if self._objective is None:
            oracle = sorted(wanted)[0]
            stage = self._needs.get(oracle, "the report")
            raise ValueError(
                f"{self._unavailable}: {stage} asks for the oracle `{oracle}`, "
                "which the given gradients do not answer"
            )
        own = self._own
        members = own if point is self._weights else point.members
        pairs = zip(members, own, point.tree.leaves, strict=True)
        tensors = tuple(
            cast(w if x is None else x, leaf.dtype)  # the weights have every tensor
            for x, w, leaf in pairs
        )
        ask = evaluate if self._objective.micro_batches == 1 else evaluate_slices
        return ask(self._objective, self._inputs, point.tree, tensors, wanted)


class Point:
    """What was asked at one point of the weights: values, and functions of a direction."""

    loss: jax.Array
    grad: Field
    outputs: Field
    outputs_grad: Field
    """The derivative of the loss in the outputs."""
    sampled_outputs_grad: Callable[[jax.Array, int], Field]
    """The same under labels that the sampler draws, from the key of the step at a site."""
    pullback: Callable[[Field], Field]
    """The transposed Jacobian of the outputs times a derivative in the outputs."""
    hvp: Callable[[Field], Field]
    """The Hessian of the loss times a direction."""
    curvature: Callable[[Field], jax.Array]
    """v'Hv, the second derivative of the loss along `v`."""
    ggn_curvature: Callable[[Field], jax.Array]
    """v'J'BJv, what the Gauss-Newton matrix has of the curvature along `v`."""
    ggn: Callable[[Field], Field]
    """The Gauss-Newton product: J'BJ v with B the Hessian of the loss in the outputs."""
    feature_alignment: Callable[[jax.Array, int, Field, int, ArrayLike, bool], Field]
    """How a field is aligned with what the outputs depend on, from a key at a site."""
    fisher_rows: Callable[[jax.Array, int, Mask], Field]
    """Of the layers of some tensors, the Fisher matrix's factor that meets their rows."""
    fisher_columns: Callable[[jax.Array, int, Mask], Field]
    """The one that meets their columns."""
    measured: Callable[[str, int, Field], Field]
    """What the model measures by name: for each tensor of a field, numbers along an axis."""
    examples: jax.Array
    """The number of examples in the batch."""
    per_example_grad: Callable[[], Examples]
    """The gradient of each example of the batch."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.__dict__.update(found)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f'`{name}` was not asked at this point: oracles.at(point, "{name}")')


def _with_outputs_as_fields(found: dict[str, Any]) -> dict[str, Any]:
    """The answers, with fields for the trees that the model and its loss know."""
    found = dict(found)
    for name in found.keys() & {"outputs", "outputs_grad"}:
        found[name] = outputs_field(found[name])
    if "pullback" in found:
        pull = found["pullback"]
        found["pullback"] = lambda cotangent: pull(outputs_tree(cotangent))
    if "measured" in found:
        found["measured"] = partial(measured, found["measured"])
    if "feature_alignment" in found:
        aligned = found["feature_alignment"]
        found["feature_alignment"] = lambda key, site, *asked: aligned(
            jax.random.fold_in(key, site), *asked
        )
    if "sampled_outputs_grad" in found:
        sampled = found["sampled_outputs_grad"]
        found["sampled_outputs_grad"] = lambda key, site: outputs_field(
            sampled(jax.random.fold_in(key, site))
        )
    return found
