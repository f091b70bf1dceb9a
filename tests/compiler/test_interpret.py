"""The interpreter on its own: closed forms, without JAX and without the printed programs."""

import copy

import numpy as np
import pytest
from agreement import graph_of

from optc.compiler.environment import Tensors
from optc.compiler.interpret import Interpreter


class Bowl:
    """loss(w) = |w - 1|^2 / 2 for each tensor."""

    def loss(self, at):
        return sum(float(np.sum((x - 1) ** 2)) for x in at) / 2

    def grad(self, at):
        return [x - 1 for x in at]

    def hvp(self, at, vector):
        return list(vector)

    ggn = hvp

    def outputs(self, at):
        return [x - 1 for x in at]

    outputs_grad = outputs

    def pullback(self, at, cotangent):
        return list(cotangent)


WEIGHTS = [np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([0.0, 4.0])]


def runner(text, draw=None, **values):
    graph = graph_of(text)
    values = {h.name: h.default for h in graph.hyperparameters} | values
    tensors = Tensors(["kernel", "bias"], ["float64", "bfloat16"])
    return Interpreter(graph, tensors, values, Bowl(), draw)


def test_gradient_descent_on_a_bowl():
    run = runner("optimizer one(lr = 0.5) { tune step lr }")
    weights = WEIGHTS
    for t in (1, 2, 3):
        weights = run.step(weights, run.start(weights), t).weights
    for w, start in zip(weights, WEIGHTS, strict=True):
        np.testing.assert_array_equal(w, 1 + (start - 1) / 8)


def test_newton_on_a_bowl_takes_one_step():
    run = runner("optimizer one() { tune step dot(g, u) / dot(u, hvp(u)) }")
    outcome = run.step(WEIGHTS, [], 1)
    for w in outcome.weights:
        np.testing.assert_array_equal(w, np.ones_like(w))
    assert outcome.loss == Bowl().loss(WEIGHTS)


def test_adam_takes_steps_of_the_rate_where_the_gradient_keeps_its_sign():
    run = runner("optimizer one() { precondition adam(eps = 1e-300)  tune step 0.1 }")
    outcome = run.step(WEIGHTS, run.start(WEIGHTS), 1)
    moved = WEIGHTS[1] - outcome.weights[1]
    np.testing.assert_allclose(moved, 0.1 * np.sign(WEIGHTS[1] - 1), rtol=1e-12)


def test_what_is_given_is_never_changed():
    weights = [w.copy() for w in WEIGHTS]
    run = runner("optimizer one() { precondition adam()  tune step 0.1  average schedule_free() }")
    slots = run.start(weights)
    kept = copy.deepcopy(slots)
    run.step(weights, slots, 1)
    for w, start in zip(weights, WEIGHTS, strict=True):
        np.testing.assert_array_equal(w, start)
    for slot, old in zip(slots, kept, strict=True):
        fields = (slot, old) if isinstance(slot, list) else ([slot], [old])
        for x, y in zip(*fields, strict=True):
            np.testing.assert_array_equal(x, y)


def test_predicates_see_paths_ranks_sizes_and_dtypes():
    text = """
    optimizer one() {
      clip value(0.25) where path matches "^ker" and ndim == 2
      clip value(0.5) where dtype == "bfloat16" and size < 3
      tune step 1
    }
    """
    outcome = runner(text).step(WEIGHTS, [], 1)
    moved = [a - b for a, b in zip(WEIGHTS, outcome.weights, strict=True)]
    assert np.max(moved[0]) == 0.25
    assert np.max(moved[1]) == 0.5


def test_draws_are_told_their_site_round_and_shapes():
    seen = []

    def draw(op, site, rounds, like):
        seen.append((op, site, rounds))
        return [np.zeros_like(x) for x in like]

    text = """
    rule precondition own() {
      var z = normal(w)
      repeat 2 { repeat 2 { z <- z + uniform(w) } }
      return g + z
    }
    optimizer one() { precondition own()  tune step 1 }
    """
    runner(text, draw).step(WEIGHTS, [], 7)
    assert [s[2] for s in seen] == [(), *((i, j) for i in (0, 1) for j in (0, 1))]
    assert len({s[:2] for s in seen}) == 2


def test_a_refused_value_raises_with_the_words_of_the_rule():
    text = """
    rule precondition own(n: int) { when n > 3 { error "at most 3" } else { return n * g } }
    optimizer one(n: int = 2) { precondition own(n) tune step 1 }
    """
    runner(text).start(WEIGHTS)
    with pytest.raises(ValueError, match="at most 3"):
        runner(text, n=9).start(WEIGHTS)


def test_evaluation_weights_are_the_weights_where_nothing_else_is_said():
    run = runner("optimizer one() { tune step 1 }")
    assert run.evaluate(WEIGHTS, [], 1) is WEIGHTS


def test_reductions_over_no_tensor_are_those_of_the_runtime():
    text = """
    rule precondition own(d = 1.0) {
      when ndim == 5 {
        return g * (norm(g) + sum(g) + mean(g) + min(1, max(g)) + max(1, min(g)))
      } else { return g }
    }
    optimizer one() { precondition own() tune step 1 }
    """
    outcome = runner(text).step(WEIGHTS, [], 1)
    assert all(np.all(np.isfinite(w)) for w in outcome.weights)
