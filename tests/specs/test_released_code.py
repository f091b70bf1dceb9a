"""Optimizers that optax and torch do not have, against the arithmetic of released code.

Each function below is one method's update as its released code computes it, in its order, on one
vector: a generator that is sent gradients and yields what is subtracted, at rates and betas that
are no defaults. Where the library differs from the code on purpose, its documentation says so, and
the function is the paper's.
"""

from collections.abc import Generator
from functools import partial

import numpy as np
import pytest
from interpreted import steps

Vector = np.ndarray
Method = Generator[Vector, Vector, None]

RNG = np.random.default_rng(11)
GRADIENTS = RNG.normal(size=(25, 7)) * 10.0 ** RNG.uniform(-2, 1, (25, 1))
WEIGHTS = RNG.normal(size=7)
B1, B2, EPS = 0.8, 0.95, 1e-3


def bounded(largest: bool) -> Method:
    """AdaBound and AMSBound (github.com/Luolc/AdaBound)."""
    g = yield np.zeros(7)
    m = v = top = 0.0
    for t in range(1, 100):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        top = np.maximum(top, v)
        size = 0.3 * np.sqrt(1 - B2**t) / (1 - B1**t) / (np.sqrt(top if largest else v) + EPS)
        low, high = 0.05 * (1 - 1 / (0.02 * t + 1)), 0.05 * (1 + 1 / (0.02 * t))
        g = yield np.clip(size, low, high) * m


def adamod() -> Method:
    """AdaMod, Algorithm 1 of arXiv:1910.12249."""
    g = yield np.zeros(7)
    m = v = s = 0.0
    for t in range(1, 100):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        rate = 0.3 / (np.sqrt(v / (1 - B2**t)) + EPS)
        s = 0.9 * s + 0.1 * rate
        g = yield np.minimum(rate, s) * m / (1 - B1**t)


def diffgrad() -> Method:
    """diffGrad, with eps where Adam has it (github.com/shivram1987/diffGrad)."""
    g = yield np.zeros(7)
    m = v = last = np.zeros(7)
    for t in range(1, 100):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        friction = 1 / (1 + np.exp(-np.abs(last - g)))
        last = g
        g = yield 0.3 * friction * m / (1 - B1**t) / (np.sqrt(v / (1 - B2**t)) + EPS)


def laprop() -> Method:
    """LaProp, with the rate inside the momentum (github.com/Z-T-WANG/LaProp-Optimizer)."""
    g = yield np.zeros(7)
    m = v = bias1 = bias2 = 0.0
    while True:
        v = B2 * v + (1 - B2) * g * g
        bias1, bias2 = B1 * bias1 + (1 - B1) * 0.3, B2 * bias2 + (1 - B2)
        m = B1 * m + (1 - B1) * 0.3 * g / (np.sqrt(v / bias2) + EPS)
        g = yield m / (bias1 / 0.3)


def padam() -> Method:
    """Padam, Algorithm 1 of arXiv:1806.06763, with the eps of github.com/uclaml/Padam."""
    g = yield np.zeros(7)
    m = v = top = 0.0
    while True:
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        top = np.maximum(top, v)
        g = yield 0.3 * m / (np.sqrt(top) + EPS) ** (2 * 0.125)


def qhadam() -> Method:
    """QHAdam by the weights of its averages (github.com/facebookresearch/qhoptim)."""
    g = yield np.zeros(7)
    m = v = one = two = 0.0
    while True:
        one, two = 1 + B1 * one, 1 + B2 * two
        m, v = m + (g - m) / one, v + (g * g - v) / two
        below = np.sqrt(0.9 * v + 0.1 * g * g) + EPS
        g = yield 0.3 * (0.7 * m + 0.3 * g) / below


def pnm() -> Method:
    """Positive-negative momentum (github.com/zeke-xie/Positive-Negative-Momentum)."""
    g = yield np.zeros(7)
    both = [np.zeros(7), np.zeros(7)]
    for t in range(100):
        both[t % 2] = B1**2 * both[t % 2] + (1 - B1**2) * g
        g = yield 0.3 * (3 * both[t % 2] - 2 * both[1 - t % 2]) / np.sqrt(9 + 4)


def yogi_paper() -> Method:
    """Yogi, Algorithm 2 of Zaheer et al. 2018, from 1e-6."""
    g = yield np.zeros(7)
    m, v = 0.0, 1e-6
    while True:
        m = B1 * m + (1 - B1) * g
        v = v - (1 - B2) * np.sign(v - g * g) * g * g
        g = yield 0.3 * m / (np.sqrt(v) + EPS)


def caution(lion: bool) -> Method:
    """C-AdamW and C-Lion (github.com/kyleliang919/C-Optim)."""
    g = yield np.zeros(7)
    m = v = 0.0
    for t in range(1, 100):
        if lion:
            u = np.sign(B1 * m + (1 - B1) * g)
            m = B2 * m + (1 - B2) * g
            agrees = (u * g > 0).astype(float)
            g = yield 0.3 * u * agrees * (7 / (agrees.sum() + 1))
        else:
            m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
            agrees = (m * g > 0).astype(float)
            agrees = agrees / max(agrees.mean(), 1e-3)
            g = yield 0.3 * m * agrees / (1 - B1**t) / (np.sqrt(v / (1 - B2**t)) + EPS)


def aggmo() -> Method:
    """AggMo, equation 3 of arXiv:1804.00325."""
    g = yield np.zeros(7)
    betas = np.array([0.2, 0.8, 0.95])[:, None]
    velocities = np.zeros((3, 7))
    while True:
        velocities = betas * velocities + g
        g = yield 0.3 / 3 * velocities.sum(axis=0)


def keras_adam(maximum: bool) -> Method:
    """Adam and Adamax of keras 3, with weight decay (github.com/keras-team/keras)."""
    g = yield np.zeros(7)
    w, m, v = WEIGHTS, 0.0, 0.0
    for t in range(1, 100):
        m = m + (1 - B1) * (g - m)
        if maximum:
            v = np.maximum(B2 * v, np.abs(g))
            step = 0.3 * m / ((1 - B1**t) * (v + EPS))
        else:
            v = v + (1 - B2) * (g * g - v)
            step = m * (0.3 * np.sqrt(1 - B2**t) / (1 - B1**t)) / (np.sqrt(v) + EPS)
        old, w = w, w - w * 0.02 * 0.3 - step
        g = yield old - w


def keras_nadam() -> Method:
    """Nadam of keras 3, whose momentum grows 250 times as fast as torch's."""
    g = yield np.zeros(7)
    m, v, product = 0.0, 0.0, 1.0
    for t in range(1, 100):
        now, after = (B1 * (1 - 0.5 * 0.96**n) for n in (t, t + 1))
        product *= now
        m, v = m + (1 - B1) * (g - m), v + (1 - B2) * (g * g - v)
        ahead = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
        g = yield 0.3 * ahead / (np.sqrt(v / (1 - B2**t)) + EPS)


def keras_sgd(nesterov: bool) -> Method:
    """SGD of keras 3, with weight decay (github.com/keras-team/keras)."""
    g = yield np.zeros(7)
    w, m = WEIGHTS, 0.0
    while True:
        m = 0.8 * m - 0.3 * g
        old, w = w, w - w * 0.02 * 0.3 + (0.8 * m - 0.3 * g if nesterov else m)
        g = yield old - w


MOMENTS = {"lr": 0.3, "b1": B1, "b2": B2, "eps": EPS}
RELEASED = {
    "adabound": (partial(bounded, largest=False), MOMENTS | {"final_lr": 0.05, "gamma": 0.02}),
    "amsbound": (partial(bounded, largest=True), MOMENTS | {"final_lr": 0.05, "gamma": 0.02}),
    "adamod": (adamod, MOMENTS | {"b3": 0.9}),
    "diffgrad": (diffgrad, MOMENTS),
    "laprop": (laprop, MOMENTS),
    "padam": (padam, MOMENTS),
    "qhadam": (qhadam, MOMENTS | {"nu1": 0.7, "nu2": 0.9}),
    "pnm": (pnm, {"lr": 0.3, "b0": 2.0, "b1": B1}),
    "yogi_paper": (yogi_paper, MOMENTS),
    "cautious_adamw": (partial(caution, lion=False), MOMENTS | {"decay": 0.0}),
    "cautious_lion": (partial(caution, lion=True), {"lr": 0.3, "b1": B1, "b2": B2}),
    "adam_keras": (partial(keras_adam, maximum=False), MOMENTS | {"decay": 0.02}),
    "adamax_keras": (partial(keras_adam, maximum=True), MOMENTS | {"decay": 0.02}),
    "nadam_torch": (keras_nadam, MOMENTS | {"momentum_decay": 1.0}),
    "sgd_keras": (
        partial(keras_sgd, nesterov=True),
        {"lr": 0.3, "momentum": 0.8, "nesterov": True, "decay": 0.02},
    ),
    "aggmo": (aggmo, {"lr": 0.3, "b1": 0.2, "b2": 0.8, "b3": 0.95}),
}


@pytest.mark.parametrize("name", RELEASED)
def test_it_goes_where_the_released_code_goes(name):
    start, values = RELEASED[name]
    method = start()
    next(method)
    expected = np.stack([method.send(g) for g in GRADIENTS])
    found = steps(name, [[g] for g in GRADIENTS], [WEIGHTS], **values)
    # 25 steps, each of a few roundings of 2^-53 relative to moments that reach the largest.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
