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

    `draw(seed, step, size)` makes a batch of `size` examples. It depends on its arguments alone,
    so a run that resumes needs no state of the data. `evaluate` measures weights (a "loss" and
    more), on examples that training never sees where there are examples. `model_state` is that of a
    model which has one, before the first step; `evaluate` takes the one of the run, or None.
    `batch_size` is what batches have if nothing else is said, None where there are none, and
    `examples` how many there are to draw from, None where that is no limit.
    """

    name: str
    objective: Objective
    init: Callable[[Array], Params]
    draw: Callable[[int, int, int], Batch]
    evaluate: Callable[[Params, Params | None], dict[str, Array]]
    default_steps: int
    model_state: Params | None = None
    batch_size: int | None = None
    examples: int | None = None

    def batch(self, seed: int, step: int, size: int | None = None) -> Batch:
        """The batch of a step, of the task's own size or another."""
        return self.draw(seed, step, size or self.batch_size or 0)
