"""A program as an optax transformation: gradients in, updates out."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from .border import arranged, enter, leave, read
from .field import Field, UnknownWeights
from .needs import check_batch, check_objective
from .objective import Objective
from .oracles import Given
from .state import Outcome, State
from .tree import PyTree, Tree

_MISSING: Any = object()


def transformation(
    init: Callable[[PyTree], State],
    advance: Callable[..., tuple[Outcome, State, Any]],
    lift: Callable[[Tree], Tree],
    needs: Mapping[str, str],
    objective: Objective | None,
) -> optax.GradientTransformationExtraArgs:
    """The transformation of a program, whose fields have the places that `lift` gives.

    `update(grads, state, params=None, *, batch=..., value=..., objective=..., key=...,
    model_state=...)` takes `grads` for the gradient at `params` and `value` for the loss there.
    What else the program asks is evaluated with the objective on the batch, with the key and the
    model state that `grads` were made with. Other extra arguments are ignored.
    """
    if objective is not None:
        check_objective(objective, needs)
    default_objective = objective

    def update(
        grads: PyTree,
        state: State,
        params: PyTree = None,
        *,
        batch: PyTree = _MISSING,
        value: Any = None,
        objective: Objective | None = None,
        key: jax.Array | None = None,
        model_state: PyTree = None,
        **_: Any,
    ) -> tuple[PyTree, State]:
        chosen = default_objective if objective is None else check_objective(objective, needs)
        g = read(grads, "grads")
        if params is None:
            w: Field = UnknownWeights(arranged(g, lift(g.tree)))
        else:
            weights = read(params)
            check_alike(weights.tree, g.tree)
            w = enter(weights, lift)
        missing = _missing(params, batch, chosen, key, model_state)
        if "loss" in needs and value is None and missing:
            raise ValueError(
                f"`value` is missing: {needs['loss']} asks for the loss; "
                "call update(..., value=loss), or give `objective`, `batch` and `params`"
            )
        if batch is not _MISSING:
            check_batch(batch, chosen)
        given = Given(
            enter(g, lambda _: w.tree),
            None if value is None else jnp.asarray(value, jnp.result_type(float)),
        )
        outcome, next_state, _oracles = advance(
            w,
            state,
            None if missing else chosen,
            None if missing else batch,
            key=None if missing else key,
            model_state=None if missing else model_state,
            given=given,
            unavailable=f"`{missing}` is missing",
        )
        return leave(_updates(outcome, w, g)), next_state

    return optax.GradientTransformationExtraArgs(init, update)


def _missing(
    params: PyTree,
    batch: PyTree,
    objective: Objective | None,
    key: jax.Array | None,
    model_state: PyTree,
) -> str:
    """The argument without which nothing can be evaluated; empty where all are there."""
    if objective is None:
        return "objective"
    if batch is _MISSING:
        return "batch"
    if params is None:
        return "params"
    # The gradients were made with a key: another one would be that of another function.
    if objective.key and key is None:
        return "key"
    return "model_state" if objective.model_state and model_state is None else ""


def check_alike(params: Tree, grads: Tree) -> None:
    """Raise ValueError where gradients do not belong to these weights."""
    if params.structure != grads.structure:
        raise ValueError(
            "grads and params are not built alike\n"
            f"  params: {params.structure}\n  grads: {grads.structure}"
        )
    for p, g in zip(params.leaves, grads.leaves, strict=True):
        if p.shape != g.shape:
            raise ValueError(
                f"grads and params do not match at `{p.path}`: "
                f"the gradient has shape {g.shape}, the weight {p.shape}"
            )


def _updates(outcome: Outcome, w: Field, g: Field) -> Field:
    """What optax adds to the weights, in the places of the gradients."""
    step = outcome.step if outcome.moved is None else outcome.moved
    if step is not None:
        moves = arranged(step, g.tree).tensors
        changes = [None if x is None else lax.neg(x) for x in moves]
    else:
        assert outcome.weights is not None, "an outcome has a step or weights"
        pairs = zip(
            arranged(outcome.weights, g.tree).tensors, arranged(w, g.tree).tensors, strict=True
        )
        changes = [None if x is None or old is None else lax.sub(x, old) for x, old in pairs]
    rows = zip(changes, g.tensors, strict=True)
    there = [
        jnp.zeros_like(x) if change is None and x is not None else change for change, x in rows
    ]
    return Field(there, g.tree)
