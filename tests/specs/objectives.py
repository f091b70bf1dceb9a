"""Objectives in float64 for the interpreter, which remember where they were asked."""

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from interpreted import Run


class Quadratic:
    """0.5 x'Hx + noise'x of one tensor; all questions of a step see the same noise."""

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


class Smooth:
    """A function of one vector, by JAX: the loss of outputs where it is given as both."""

    def __init__(self, outputs, loss):
        self.points = []
        self._outputs, self._loss = outputs, loss

    def _run(self, function, *arrays):
        with jax.enable_x64(True):
            return np.asarray(function(*(jnp.asarray(x, float) for x in arrays)))

    @cached_property
    def _whole(self):
        return jax.jit(lambda x: self._loss(self._outputs(x)))

    @cached_property
    def _grad(self):
        return jax.jit(jax.grad(lambda x: self._loss(self._outputs(x))))

    @cached_property
    def _pulled(self):
        return jax.jit(lambda c, x: jax.vjp(self._outputs, x)[1](c)[0])

    @cached_property
    def matrices(self):
        """The Gauss-Newton part of the Hessian at a point, and the rest of it."""

        @jax.jit
        def both(x):
            jacobian = jax.jacobian(self._outputs)(x)
            inner = jax.hessian(self._loss)(self._outputs(x))
            flat = jacobian.reshape(-1, x.size)
            gauss_newton = flat.T @ inner.reshape(len(flat), -1) @ flat
            whole = jax.hessian(lambda x: self._loss(self._outputs(x)))(x)
            return jnp.stack([gauss_newton, whole - gauss_newton])

        return lambda x: self._run(both, x)

    def loss(self, at):
        return float(self._run(self._whole, at[0]))

    def grad(self, at):
        self.points.append(at[0])
        return [self._run(self._grad, at[0])]

    def hvp(self, at, vector):
        self.points.append(at[0])
        return [self.matrices(at[0]).sum(axis=0) @ vector[0]]

    def ggn(self, at, vector):
        return [self.matrices(at[0])[0] @ vector[0]]

    def outputs(self, at):
        return self._run(self._outputs, at[0])

    def outputs_grad(self, at):
        self.points.append(at[0])
        return self._run(jax.grad(self._loss), self.outputs(at))

    def pullback(self, at, cotangent):
        self.points.append(at[0])
        return [self._run(self._pulled, cotangent, at[0])]


class Asking(Run):
    """An optimizer on its way along an objective, which may be another one in each step."""

    def follow(self, objective):
        """What one step takes from the one tensor of the weights."""
        self._interpreter.oracles = objective
        before = self.weights[0]
        with np.errstate(divide="ignore", invalid="ignore"):  # what a `where` leaves out
            outcome = self._interpreter.step(self.weights, self._slots, self.count + 1)
        self.weights, self._slots = outcome.weights, outcome.slots
        self.count += 1
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
