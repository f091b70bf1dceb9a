"""The training loop: steps, measurements, checkpoints, and the ways in which it ends."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import jax

from ...runtime import Optimizer
from .checkpoint import Checkpoints, Snapshot
from .interrupt import Interrupt
from .metrics import Entry, Metrics
from .reports import Reports, plain
from .tasks.task import Task


@dataclass(frozen=True)
class Plan:
    """How long to train, and how often to do what, in steps."""

    steps: int
    log_every: int
    evaluate_every: int
    checkpoint_every: int

    def due(self, step: int, every: int) -> bool:
        """Whether something that is done every so often is done now; the last step always is."""
        return step % every == 0 or step == self.steps


class End(Enum):
    """Why a run ended."""

    FINISHED = auto()
    INTERRUPTED = auto()
    DIVERGED = auto()


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and after which step."""

    end: End
    step: int


def start(task: Task, optimizer: Optimizer, seed: int) -> Snapshot:
    """The weights and state before the first step."""
    params = task.init(jax.random.key(seed))
    # A key of its own, which draws nothing that the weights were drawn with.
    key = jax.random.fold_in(jax.random.key(seed), 1) if task.objective.key else None
    return Snapshot(0, params, optimizer.init(params, key), task.model_state)


def train(
    task: Task,
    optimizer: Optimizer,
    begin: Snapshot,
    plan: Plan,
    *,
    seed: int,
    metrics: Metrics,
    checkpoints: Checkpoints,
    show: Callable[[Entry], None],
    stop_when_not_finite: bool = True,
    seconds: float = 0.0,
) -> Outcome:
    """Train from `begin` to the last step, or until an interrupt or a loss that is not finite.

    `seconds` is what the run had taken before. The same task, optimizer and seed give the same
    weights however often the run is cut and resumed.
    """
    step, params, state, model_state = begin
    began = time.perf_counter() - seconds
    reports = Reports()
    with Interrupt() as interrupt:
        while step < plan.steps:
            batch = task.batch(seed, step)
            params, state, report = optimizer.step(
                params, state, batch, task.objective, model_state=model_state
            )
            model_state = report.model_state
            step += 1
            now = Snapshot(step, params, state, model_state)
            reports.add(step, report)
            evaluated = plan.due(step, plan.evaluate_every)
            logged = evaluated or plan.due(step, plan.log_every)
            saved = plan.due(step, plan.checkpoint_every)
            if logged or saved or interrupt.asked:
                measured = _evaluate(task, optimizer, now) if evaluated else {}
                for place, loss, observed in reports.take(logged):
                    evaluation = measured if place == step else {}
                    seconds = time.perf_counter() - began
                    entry = Entry(place, loss, observed, evaluation, seconds)
                    metrics.append(entry)
                    show(entry)
                    # What has diverged is not saved: the checkpoint before it stays the newest.
                    if stop_when_not_finite and place == step and not math.isfinite(loss):
                        return Outcome(End.DIVERGED, step)
            if saved or interrupt.asked:
                checkpoints.save(now)
            if interrupt.asked and step < plan.steps:
                return Outcome(End.INTERRUPTED, step)
    return Outcome(End.FINISHED, step)


def _evaluate(task: Task, optimizer: Optimizer, now: Snapshot) -> dict[str, float]:
    weights = optimizer.evaluation_params(now.params, now.state)
    return plain(task.evaluate(weights, now.model_state))
