"""Objectives whose curvature and noise are known in full, and what probes find of them.

The random fields are handed in. Where they are an orthogonal set of signs, the mean of z'Az over
them is the trace itself; where a start is the sum of the eigenvectors, each eigenvalue has the same
weight, and the quadrature over all of them is exact.
"""

from dataclasses import dataclass, field

import numpy as np
from interpreted import Run, stages
from scipy.linalg import hadamard

EXACT = 1e-10
"""A few dozen products in float64, and an eigenvalue problem of the size of the test."""


@dataclass
class Dense:
    """An objective of one tensor with a Hessian, a Gauss-Newton matrix and examples' gradients."""

    hessian: np.ndarray
    gauss_newton: np.ndarray | None = None
    examples: np.ndarray | None = None
    height: float = 0.0
    asked: list[str] = field(default_factory=list)

    def loss(self, at):
        return self.height

    def grad(self, at):
        if self.examples is not None:
            return [self.examples.mean(axis=0)]
        return [self.hessian @ at[0]]

    def hvp(self, at, vector):
        self.asked.append("hvp")
        return [self.hessian @ vector[0]]

    def ggn(self, at, vector):
        self.asked.append("ggn")
        return [self.gauss_newton @ vector[0]]

    def per_example_grad(self, at):
        self.asked.append("per_example_grad")
        return [[row] for row in self.examples]


def probe(objective, *calls, weights=None, draw=None):
    """What some expressions are on an objective, at weights that are ones if none are given."""
    lines = [f"observe {call} as value{i}" for i, call in enumerate(calls)]
    size = (objective.hessian if objective.hessian is not None else objective.gauss_newton).shape[0]
    weights = np.ones(size) if weights is None else weights
    run = Run(stages("tune step 0.0", *lines), [weights], draw=draw)
    found = run.ask(objective).observed
    values = [found[f"value{i}"] for i in range(len(calls))]
    return values[0] if len(calls) == 1 else values


def signs(op, site, rounds, like):
    """The rows of a Hadamard matrix, one for each round of the innermost loop."""
    if op != "rademacher":
        return drawn()(op, site, rounds, like)
    size = np.size(like[0])
    return [hadamard(size)[rounds[-1] % size].astype(float)]


def all_alike(op, site, rounds, like):
    return [np.ones_like(like[0])]


def drawn(seed=0):
    def draw(op, site, rounds, like):
        source = np.random.default_rng((seed, site, *rounds))
        shape = np.shape(like[0])
        return [
            source.choice([-1.0, 1.0], shape) if op == "rademacher" else source.normal(size=shape)
        ]

    return draw


def symmetric(eigenvalues, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return q @ np.diag(eigenvalues) @ q.T
