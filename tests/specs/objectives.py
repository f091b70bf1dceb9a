"""Objectives in NumPy for the interpreter, which remember where they were asked.

Each is a function of one tensor of one axis.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from interpreted import Run

TINY = 1e-30
"""A complex step along a line gives a derivative exact to rounding, since it subtracts nothing."""


class Quadratic:
    """0.5 x'Hx + noise'x: all questions of a step see the same noise."""

    def __init__(self, hessian, noise=0.0):
        self.hessian, self.noise, self.points = np.atleast_2d(hessian), noise, []

    def loss(self, at):
        return float(0.5 * at[0] @ self.hessian @ at[0] + np.sum(self.noise * at[0]))

    def grad(self, at):
        self.points.append(at[0])
        return [self.hessian @ at[0] + self.noise]

    def hvp(self, at, vector):
        self.points.append(at[0])
        return [self.hessian @ vector[0]]


@dataclass(frozen=True)
class CrossEntropy:
    """Mean of the softmax cross-entropy, one row of outputs for each label."""

    labels: Any

    def value(self, z):
        picked = z[np.arange(len(z)), self.labels]
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - picked)

    def grad(self, z):
        share = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)
        return (share - np.eye(z.shape[1])[self.labels]) / len(z)


@dataclass(frozen=True)
class Straight:
    """A loss that is linear in the outputs."""

    weights: Any

    def value(self, z):
        return np.sum(self.weights * z)

    def grad(self, z):
        return self.weights + 0 * z


@dataclass(frozen=True)
class Curved:
    """sin z + z^2 / 2, summed over the outputs."""

    def value(self, z):
        return np.sum(np.sin(z) + z**2 / 2)

    def grad(self, z):
        return np.cos(z) + z


@dataclass
class Net:
    """A loss of a net without biases, whose kernels lie in one vector: tanh, or linear layers."""

    inputs: Any
    widths: tuple[int, ...]
    criterion: Any
    linear: bool = False
    points: list[Any] = field(default_factory=list)

    def _kernels(self, x):
        shapes = list(pairwise(self.widths))
        ends = np.cumsum([a * b for a, b in shapes])
        parts = np.split(x[: ends[-1]], ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _layers(self, x):
        *hidden, last = self._kernels(x)
        layers = [self.inputs]
        for kernel in hidden:
            z = layers[-1] @ kernel
            layers.append(z if self.linear else np.tanh(z))
        return [*layers, layers[-1] @ last]

    def _pulled(self, x, cotangent):
        *layers, _ = self._layers(x)
        parts = []
        for layer, kernel in zip(reversed(layers), reversed(self._kernels(x)), strict=True):
            parts.append((layer.T @ cotangent).ravel())
            cotangent = (cotangent @ kernel.T) * (1 if self.linear else 1 - layer**2)
        return np.concatenate(parts[::-1])

    def _gradient(self, x):
        return self._pulled(x, self.criterion.grad(self._layers(x)[-1]))

    def matrices(self, x):
        """The Gauss-Newton part of the Hessian at a point, and the rest of it."""
        z = self._layers(x)[-1]
        units = np.eye(z.size).reshape(-1, *z.shape)
        jacobian = np.stack([self._pulled(x, unit) for unit in units])
        steps = (self.criterion.grad(z + 1j * TINY * unit) for unit in units)
        inner = np.stack([np.imag(step).ravel() / TINY for step in steps])
        whole = np.stack(
            [np.imag(self._gradient(x + 1j * TINY * unit)) / TINY for unit in np.eye(x.size)]
        )
        gauss_newton = jacobian.T @ inner @ jacobian
        return gauss_newton, whole - gauss_newton

    def value(self, x):
        """The loss, of complex weights too."""
        return self.criterion.value(self._layers(x)[-1])

    def loss(self, at):
        return float(self.value(at[0]))

    def grad(self, at):
        self.points.append(at[0])
        return [self._gradient(at[0])]

    def hvp(self, at, vector):
        self.points.append(at[0])
        return [np.imag(self._gradient(at[0] + 1j * TINY * vector[0])) / TINY]

    def ggn(self, at, vector):
        return [self.matrices(at[0])[0] @ vector[0]]

    def outputs(self, at):
        return self._layers(at[0])[-1]

    def outputs_grad(self, at):
        self.points.append(at[0])
        return self.criterion.grad(self.outputs(at))

    def pullback(self, at, cotangent):
        self.points.append(at[0])
        return [self._pulled(at[0], cotangent)]


class Asking(Run):
    """An optimizer on its way along an objective, which may be another one in each step."""

    def follow(self, objective):
        """What one step takes from the one tensor of the weights."""
        before = self.weights[0]
        self.ask(objective)
        return before - self.weights[0]


def followed(stage, objective, x, steps=1, draw=None):
    """The gradient that a `perturb` makes of an objective; of several steps at one point, the last.

    The weights do not move: the step is taken back.
    """
    run = Asking(
        f"optimizer one() {{\n  perturb {stage}\n  tune step 1.0\n}}\n", [np.asarray(x)], draw=draw
    )
    for _ in range(steps):
        objective.points.clear()
        found = run.follow(objective)
        run.weights = [np.asarray(x)]
    return found
