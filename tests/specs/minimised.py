"""Small losses that answer all that is asked of them, and the way of an optimizer on them."""

import numpy as np
from interpreted import Given, graph_of, stages

from optc.compiler.environment import Tensors
from optc.compiler.interpret import Interpreter

ROUNDING = 1e-13
"""Some hundred roundings of 2^-53."""


class Quadratic(Given):
    """The loss x'Hx / 2 - b'x of one vector; a diagonal H may be given as its diagonal."""

    def __init__(self, h, b=None) -> None:
        self.h = np.diag(h) if np.ndim(h) == 1 else np.asarray(h, float)
        self.b = np.zeros(len(self.h)) if b is None else np.asarray(b, float)

    def loss(self, at):
        (x,) = at
        return float(0.5 * x @ self.h @ x - self.b @ x)

    def grad(self, at):
        return [self.h @ at[0] - self.b]

    def hvp(self, at, vector):
        return [self.h @ vector[0]]

    def ggn(self, at, vector):
        return self.hvp(at, vector)


def signs(op, site, rounds, like):
    """Random fields of one sign: of a diagonal Hessian any sign finds the diagonal."""
    return [np.ones_like(x) for x in like]


def walk(spec, objective, x, steps, draw=signs, **values):
    """The weights before the first step, and after each."""
    graph = graph_of(spec)
    settings = {h.name: h.default for h in graph.hyperparameters} | values
    runner = Interpreter(graph, Tensors(["x"], ["float64"]), settings, objective, draw)
    weights, visited = [np.asarray(x, float)], [np.asarray(x, float)]
    slots = runner.start(weights)
    for number in range(steps):
        with np.errstate(divide="ignore", invalid="ignore"):  # what a `where` leaves out
            outcome = runner.step(weights, slots, number + 1)
        weights, slots = outcome.weights, outcome.slots
        visited.append(weights[0])
    return np.stack(visited)


def alone(stage):
    """A direction that is the whole step."""
    return stages(stage, "...")
