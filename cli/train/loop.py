"""The training loop: steps, measurements, checkpoints, and the ways in which it ends."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import jax

from ...runtime import Optimizer
from .checkpoint import Checkpoints, Snapshot
from .growth import Growth
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


def start(task: Task, optimizer: Optimizer, seed: int, growth: Growth | None = None) -> Snapshot:
    """The weights and state before the first step."""
    params = task.init(jax.random.key(seed))
    # A key of its own, which draws nothing that the weights were drawn with.
    key = jax.random.fold_in(jax.random.key(seed), 1) if task.objective.key else None
    size = growth.first if growth else None
    return Snapshot(0, params, optimizer.init(params, key), task.model_state, size)


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
    growth: Growth | None = None,
    stop_when_not_finite: bool = True,
    seconds: float = 0.0,
) -> Outcome:
    """Train from `begin` to the last step, or until an interrupt or a loss that is not finite.

    `growth` says how far batches grow as the optimizer requests, None that its requests are not
    heard. `seconds` is what the run had taken before. The same task, optimizer and seed give the
    same weights however often the run is cut and resumed.
    """
    step, params, state, model_state, size = begin
    began = time.perf_counter() - seconds
    reports = Reports()
    with Interrupt() as interrupt:
        while step < plan.steps:
            batch, used = task.batch(seed, step, size), size
            params, state, report = optimizer.step(
                params, state, batch, task.objective, model_state=model_state
            )
            model_state = report.model_state
            step += 1
            if growth is not None and size is not None:
                size = growth.after(size, float(report.requested["batch_size"]))
            now = Snapshot(step, params, state, model_state, size)
            reports.add(step, report, used)
            evaluated = plan.due(step, plan.evaluate_every)
            logged = evaluated or plan.due(step, plan.log_every)
            saved = plan.due(step, plan.checkpoint_every)
            if logged or saved or interrupt.asked:
                measured = _evaluate(task, optimizer, now) if evaluated else {}
                for place, loss, observed, examples in reports.take(logged):
                    evaluation = measured if place == step else {}
                    seconds = time.perf_counter() - began
                    entry = Entry(place, loss, observed, evaluation, seconds, examples)
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
