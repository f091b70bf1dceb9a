"""What a task is: everything about a training run that is not the optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jax import Array

from ....runtime import Objective

Params = dict[str, Any]
"""A tree of dictionaries of arrays."""

Batch = dict[str, Array]
"""The arrays that one step sees."""


@dataclass(frozen=True)
class Task:
    """A thing to train.

    `batch(seed, step)` depends on its arguments alone, so a run that resumes needs no state of
    the data. `evaluate` measures weights (a "loss" and more), on examples that training never
    sees where there are examples. `model_state` is that of a model which has one, before the first
    step; `evaluate` takes the one of the run, or None.
    """

    name: str
    objective: Objective
    init: Callable[[Array], Params]
    batch: Callable[[int, int], Batch]
    evaluate: Callable[[Params, Params | None], dict[str, Array]]
    default_steps: int
    model_state: Params | None = None
