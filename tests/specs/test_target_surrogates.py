"""Descent in the space of outputs (arXiv:2302.02607): what is known of it in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from interpreted import Run


@dataclass
class Split:
    """An objective of outputs `f(w)` and their Jacobian, and of a loss and its derivative."""

    f: Callable[[np.ndarray], np.ndarray]
    jacobian: Callable[[np.ndarray], np.ndarray]
    value: Callable[[np.ndarray], float]
    slope: Callable[[np.ndarray], np.ndarray]

    def outputs(self, at):
        return self.f(at[0])

    def outputs_grad(self, at):
        return self.slope(self.f(at[0]))

    def pullback(self, at, cotangent):
        return [self.jacobian(at[0]).T @ cotangent]

    def loss(self, at):
        return float(self.value(self.f(at[0])))

    def grad(self, at):
        return self.pullback(at, self.outputs_grad(at))


RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(6, 3))
Y = RANDOM.normal(size=6)
SQUARED = (lambda z: np.sum((z - Y) ** 2) / 2, lambda z: z - Y)


def linear(x=X, loss=SQUARED):
    return Split(lambda w: x @ w, lambda w: x, *loss)


def curved(loss):
    """tanh(X w), tripled."""

    def f(w):
        return 3 * np.tanh(X @ w)

    return Split(f, lambda w: 3 * (1 - np.tanh(X @ w) ** 2)[:, None] * X, *loss)


W = np.array([0.3, -0.5, 0.2])


def stepped(objective, steps=1, name="sso", weights=W, **values):
    run = Run(name, [weights], **values)
    losses = [objective.loss(run.weights)]
    for _ in range(steps):
        run.ask(objective)
        losses.append(objective.loss(run.weights))
    return run.weights[0], losses


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_one_round_is_a_step_of_gradient_descent_for_any_size(size):
    objective = curved(SQUARED)
    found, _ = stepped(objective, size=size, lr=0.07, rounds=1)
    np.testing.assert_allclose(found, W - 0.07 * objective.grad([W])[0], rtol=1e-14)


def test_rounds_without_end_solve_the_surrogate_of_a_linear_model():
    """w - size (X'X)^+ X' q; the inner error falls by 1 - rate * smallest eigenvalue / size."""
    gram = X.T @ X / 0.4
    low, *_, high = np.linalg.eigvalsh(gram)
    rate = 2 / (low + high)
    rounds = int(np.ceil(np.log(1e-15) / np.log(1 - rate * low)))
    objective = linear()
    q = objective.outputs_grad([W])
    found, _ = stepped(objective, size=0.4, lr=rate, rounds=rounds)
    expected = W - 0.4 * np.linalg.pinv(X.T @ X) @ X.T @ q
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # The same for other coordinates of the weights: v with w = A v.
    a = np.array([[2.0, 0.3, 0.0], [0.0, 1.0, -0.4], [0.5, 0.0, 1.0]])
    other = linear(X @ a)
    low, *_, high = np.linalg.eigvalsh(a.T @ gram @ a)
    rate = 2 / (low + high)
    rounds = int(np.ceil(np.log(1e-15) / np.log(1 - rate * low)))
    start = np.linalg.solve(a, W)
    moved, _ = stepped(other, size=0.4, lr=rate, rounds=rounds, weights=start)
    np.testing.assert_allclose(a @ moved, found, rtol=1e-11)


def test_a_squared_loss_is_solved_in_one_step_of_size_one():
    low, *_, high = np.linalg.eigvalsh(X.T @ X)
    rate = 2 / (low + high)
    rounds = int(np.ceil(np.log(1e-15) / np.log(1 - rate * low)))
    found, _ = stepped(linear(), size=1.0, lr=rate, rounds=rounds)
    np.testing.assert_allclose(found, np.linalg.lstsq(X, Y, rcond=None)[0], rtol=1e-12)


def test_a_small_size_moves_by_as_little():
    found = [
        np.linalg.norm(stepped(curved(SQUARED), size=s, lr=0.02 * s, rounds=400)[0] - W)
        for s in (1e-3, 1e-4)
    ]
    assert found[0] / found[1] == pytest.approx(10, rel=0.02)


def test_a_large_size_follows_the_first_derivative_of_the_loss():
    """Without the penalty an inner step pulls back what the loss said at the start."""
    objective, w = curved(SQUARED), W
    q = objective.outputs_grad([W])
    for _ in range(3):
        w = w - 0.02 * objective.pullback([w], q)[0]
    found, _ = stepped(objective, size=1e15, lr=0.02, rounds=3)
    np.testing.assert_allclose(found, w, rtol=1e-12)


def test_a_model_that_reaches_all_outputs_steps_in_them():
    wide = RANDOM.normal(size=(6, 6)) + 3 * np.eye(6)
    gram = wide.T @ wide
    low, *_, high = np.linalg.eigvalsh(gram)
    rate = 2 / (low + high) * 0.3
    rounds = int(np.ceil(np.log(1e-14) / np.log(1 - 2 * low / (low + high))))
    objective, start = linear(wide), np.arange(6) / 6
    q = objective.outputs_grad([start])
    found, _ = stepped(objective, size=0.3, lr=rate, rounds=rounds, weights=start)
    np.testing.assert_allclose(wide @ found, wide @ start - 0.3 * q, rtol=1e-10)


SIGNS = np.sign(Y)
LOGISTIC = (
    lambda z: np.sum(np.logaddexp(0, -SIGNS * z)),
    lambda z: -SIGNS / (1 + np.exp(SIGNS * z)),
)
PAIRS = np.eye(2)[[0, 1, 1]]


def _softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


SOFTMAX = (
    lambda z: -np.sum(PAIRS * np.log(_softmax(z.reshape(3, 2)))),
    lambda z: (_softmax(z.reshape(3, 2)) - PAIRS).ravel(),
)


@pytest.mark.parametrize(("loss", "curvature"), [(SQUARED, 1.0), (LOGISTIC, 0.25), (SOFTMAX, 0.5)])
@pytest.mark.parametrize("rounds", [1, 6])
def test_a_search_inside_never_makes_the_loss_grow(loss, curvature, rounds):
    """Where the curvature of the loss in the outputs is at most `1 / size`."""
    objective = curved(loss)
    _, losses = stepped(objective, 12, "sso_armijo", size=1 / curvature, rounds=rounds)
    assert all(b <= a * (1 + 1e-14) for a, b in pairwise(losses))
    assert losses[-1] < 0.8 * losses[0]


def test_a_search_that_finds_nothing_stays():
    """An ascent: the surrogate of these outputs only grows along what is no gradient of it."""
    objective = curved(SQUARED)
    objective.pullback = lambda at, cotangent: [-objective.jacobian(at[0]).T @ cotangent]
    found, _ = stepped(objective, 1, "sso_armijo", rounds=2)
    np.testing.assert_array_equal(found, W)
    nowhere = curved((lambda z: np.nan, lambda z: z * np.nan))
    found, _ = stepped(nowhere, 1, "sso_armijo", rounds=2)
    np.testing.assert_array_equal(found, W)
