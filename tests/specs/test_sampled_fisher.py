"""Labels that the model draws: their Fisher matrix is the Gauss-Newton matrix of softmax losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interpreted import Run

import optc

CLASSES = 3
RANDOM = np.random.default_rng(5)
INPUT = RANDOM.normal(size=4)
W, V = RANDOM.normal(size=(2, CLASSES, 4))

ONE = """
rule precondition drawn() {
  s = pullback(sampled_outputs_grad(w))
  return s * dot(s, g)
}
optimizer x() { precondition drawn() tune step 1 }
"""


class Enumerated:
    """Softmax of one example whose label is drawn as `label`; its gradient is the direction `V`."""

    def __init__(self, label: int) -> None:
        self.label = label

    def chances(self, at):
        e = np.exp(at[0] @ INPUT)
        return e / e.sum()

    def grad(self, at):
        return [V]

    def loss(self, at):
        return 0.0

    def sampled_outputs_grad(self, at, site, rounds):
        return self.chances(at) - np.eye(CLASSES)[self.label]

    def pullback(self, at, cotangent):
        return [np.outer(cotangent, INPUT)]

    def product(self, at, v):
        """J' (diag p - p p') J v."""
        p, push = self.chances(at), v @ INPUT
        return np.outer(p * push - p * (p @ push), INPUT)


def test_over_all_labels_the_fisher_matrix_is_the_gauss_newton_matrix():
    total = np.zeros_like(W)
    for label in range(CLASSES):
        objective, run = Enumerated(label), Run(ONE, [W])
        run.ask(objective)
        total += objective.chances([W])[label] * (W - run.weights[0])
    np.testing.assert_allclose(total, objective.product([W], V), rtol=1e-12)


MANY = """
rule precondition fisher(draws: int) {
  var total = zeros(w)
  repeat draws {
    s = pullback(sampled_outputs_grad(w))
    total <- total + examples() * s * dot(s, g) / draws
  }
  return total - ggn(g)
}
optimizer x(draws: int = 2000) {
  precondition fisher(draws)
  tune step    1
  observe dot(u, g) as apart
  observe dot(g, ggn(g)) as curved
}
"""


def test_labels_are_drawn_from_the_model_anew_each_round_and_step():
    """g'Fg of n drawn labels: each is a square of mean g'Gg and of a kurtosis of at most 3 or so,
    so its deviation is sqrt(2 / n) of it, and 5 of them are allowed."""
    x = RANDOM.normal(size=(6, 4))
    batch = {"x": jnp.asarray(x), "y": jax.nn.one_hot(jnp.arange(6) % CLASSES, CLASSES)}

    def sampler(outputs, batch, key):
        drawn = jax.random.categorical(key, outputs)
        return batch | {"y": jax.nn.one_hot(drawn, CLASSES)}

    objective = optc.Objective(
        outputs=lambda w, b: b["x"] @ w.T,
        loss=lambda z, b: -jnp.mean(jnp.sum(b["y"] * jax.nn.log_softmax(z), axis=-1)),
        batch_axis=0,
        sampler=sampler,
    )
    optimizer = optc.compile(MANY)()
    w = jnp.asarray(W)
    state = optimizer.init(w)
    _, state, first = optimizer.step(w, state, batch, objective)
    w = jnp.asarray(W)
    _, _, second = optimizer.step(w, state, batch, objective)
    for report in (first, second):
        apart, curved = (float(report.observed[name]) for name in ("apart", "curved"))
        assert curved > 0
        assert abs(apart) < 5 * np.sqrt(2 / 2000) * curved
    assert first.observed["apart"] != second.observed["apart"]
    assert float(first.observed["curved"]) == pytest.approx(float(second.observed["curved"]))
