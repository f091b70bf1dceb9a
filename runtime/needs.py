"""What a program asks of an objective, checked where the two meet."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from .objective import Objective
from .tree import PyTree, path_text


class _Condition(NamedTuple):
    """What some oracles need: in words, where it holds, and what to write where it does not."""

    oracles: frozenset[str]
    holds: Callable[[Objective], bool]
    missing: str
    help: str


_CONDITIONS = (
    _Condition(
        frozenset(
            {
                *("outputs", "outputs_grad", "pullback", "ggn", "ggn_curvature"),
                *("sampled_outputs_grad", "feature_alignment"),
                *("fisher_rows", "fisher_columns"),
            }
        ),
        lambda objective: objective.split,
        "the model's outputs",
        "give them apart: optc.Objective(outputs=..., loss=...)",
    ),
    _Condition(
        frozenset(
            {
                *("examples", "per_example_grad", "feature_alignment"),
                *("fisher_rows", "fisher_columns"),
            }
        ),
        lambda objective: objective.batch_axis is not None,
        "the examples of a batch",
        "say where they are: optc.Objective(..., batch_axis=0)",
    ),
    _Condition(
        frozenset({"measured"}),
        lambda objective: objective.measured is not None,
        "what the model measures of its layers",
        "give it: optc.Objective(..., aux=True, measured=f) with f(aux) that returns a tree like "
        "the weights that ends in the names of the measurements",
    ),
    _Condition(
        frozenset({"sampled_outputs_grad", "fisher_rows", "fisher_columns"}),
        lambda objective: objective.sampler is not None,
        "labels drawn from the model",
        "give what draws them: optc.Objective(..., sampler=f) with "
        "f(outputs, batch, key) that returns the batch with drawn labels",
    ),
)


def check_objective(objective: Any, needs: Mapping[str, str]) -> Objective:
    """The objective, if it serves every oracle that a program needs.

    `needs` has the stage and spec line that asks for each oracle. Raises TypeError for what is
    not an objective and ValueError for one that lacks what an oracle needs.
    """
    if not isinstance(objective, Objective):
        raise TypeError(
            f"`objective` is a {type(objective).__name__}; "
            "wrap the loss function: optc.Objective(loss=...)"
        )
    for condition in _CONDITIONS:
        asked = [oracle for oracle in needs if oracle in condition.oracles]
        if asked and not condition.holds(objective):
            raise ValueError(
                f"the oracle `{asked[0]}`, which {needs[asked[0]]} asks for, needs "
                f"{condition.missing}; {condition.help}"
            )
    return objective


def check_batch(batch: PyTree, objective: Objective | None) -> None:
    """Raise ValueError if an array of the batch has no examples, naming it."""
    axis = 0 if objective is None else objective.batch_axis or 0
    for keys, leaf in jax.tree_util.tree_leaves_with_path(batch):
        shape = np.shape(leaf)
        if 0 in shape[axis : axis + 1]:
            place = path_text(keys)
            name = f"batch leaf `{place}`" if place else "batch"
            raise ValueError(f"{name} is empty: its shape is {shape}")


def check_inputs(objective: Objective, key: Any, model_state: PyTree) -> None:
    """Raise ValueError for a model state that is missing, and for what no model takes."""
    if objective.model_state and model_state is None:
        raise ValueError(
            "`model_state` is missing: the objective's model has one; "
            "hand it over: step(..., model_state=...)"
        )
    if model_state is not None and not objective.model_state:
        raise ValueError(
            "`model_state` is given, and the objective's model takes none; "
            "say that it does: optc.Objective(..., model_state=True)"
        )
    if key is not None and not objective.key:
        raise ValueError(
            "`key` is given, and the objective's model takes none; "
            "say that it does: optc.Objective(..., key=True)"
        )
