"""Functions of one vector in NumPy, which answer the interpreter as objectives do."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from interpreted import Run, stages

Vector = np.ndarray

RULES = """
rule precondition times(factor) {
  return factor * g
}
"""
"""A direction that the library does not have."""


@dataclass
class Function:
    """A function of one vector with its derivatives; `asked` are the points of its values."""

    value: Callable[[Vector], float]
    slope: Callable[[Vector], Vector]
    hessian: Callable[[Vector], np.ndarray] | None = None
    asked: list[Vector] = field(default_factory=list)

    def loss(self, at):
        self.asked.append(at[0])
        return float(self.value(at[0]))

    def grad(self, at):
        return [np.asarray(self.slope(at[0]), float)]

    def hvp(self, at, vector):
        return [self.hessian(at[0]) @ vector[0]]


def quadratic(*eigenvalues: float) -> Function:
    """0.5 x'Hx, turned by a rotation."""
    turned, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(len(eigenvalues),) * 2))
    h = (turned * np.array(eigenvalues)) @ turned.T
    return Function(lambda x: 0.5 * x @ h @ x, lambda x: h @ x, lambda x: h)


def rosenbrock() -> Function:
    """The curved valley, with its end at (1, 1)."""

    def slope(x):
        rise = x[1] - x[0] ** 2
        return np.array([-400 * x[0] * rise - 2 * (1 - x[0]), 200 * rise])

    return Function(lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, slope)


@dataclass
class Descent:
    """The points of a run, and for each but the last its step size and how many it tried."""

    points: np.ndarray
    sizes: np.ndarray
    trials: list[int]

    @property
    def steps(self) -> np.ndarray:
        """What each step subtracted."""
        return self.points[:-1] - self.points[1:]


def spread(op, site, rounds, like):
    """A start that sees every direction, in the place of a random one."""
    return [np.cos(1.0 + np.arange(x.size)).reshape(x.shape) for x in like]


def descend(step: str, function: Function, start, steps: int = 1, *before: str) -> Descent:
    """Some steps of the size `step`, along the gradient or what the stages `before` make of it."""
    lines = stages(*before, f"tune step {step}", "observe eta as eta")
    run = Run(RULES + lines, [np.array(start)], draw=spread)
    descent = Descent(np.array([start], float), np.zeros(0), [])
    for _ in range(steps):
        function.asked.clear()
        (here,) = run.weights
        outcome = run.ask(function)
        descent.points = np.vstack([descent.points, run.weights[0]])
        descent.sizes = np.append(descent.sizes, outcome.observed["eta"])
        descent.trials.append(sum(not np.array_equal(x, here) for x in function.asked))
    return descent
