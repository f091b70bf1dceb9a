"""A step of gradients that the caller has: nothing else is known of the loss."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from .border import enter, leave, next_weights, read, reported, stepped
from .hyperparameters import as_scalar
from .oracles import Given
from .state import Outcome, Report, State
from .transform import check_alike
from .tree import PyTree, Tree


def check_given(needs: Mapping[str, str], value: object) -> None:
    """Raise ValueError for a program that asks for more than a gradient and a given loss.

    `needs` has the stage and spec line that asks for each oracle.
    """
    asked = sorted(needs.keys() - {"grad", "loss"})
    if asked:
        raise ValueError(
            f"{needs[asked[0]]} asks for the oracle `{asked[0]}`, which given gradients do not "
            "answer; call step(params, state, batch, objective)"
        )
    if "loss" in needs and value is None:
        raise ValueError(
            f"`value` is missing: {needs['loss']} asks for the loss; "
            "call apply(params, state, grads, value=loss)"
        )


def applied(
    advance: Callable[..., tuple[Outcome, State, Any]],
    lift: Callable[[Tree], Tree],
    params: PyTree,
    state: State,
    grads: PyTree,
    value: jax.Array | None,
) -> tuple[PyTree, State, Report]:
    """The next weights, the next state and a report, of gradients and perhaps the loss."""
    g, weights = read(grads, "grads"), read(params)
    check_alike(weights.tree, g.tree)
    w = enter(weights, lift)
    given = Given(enter(g, lambda _: w.tree), value)
    outcome, after, _ = advance(w, state, None, None, given=given)
    observed = {name: reported(x) for name, x in (outcome.observed or {}).items()}
    requested = {name: as_scalar(x) for name, x in (outcome.requested or {}).items()}
    applied = jnp.asarray(True if outcome.applied is None else outcome.applied)
    report = Report(outcome.loss, observed, requested, None, applied)
    return leave(next_weights(w, stepped(outcome), weights.tree)), after, report
