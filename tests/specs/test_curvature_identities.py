"""Diagonals of curvature: Sophia and AdaHessian, closed forms and what their code does."""

from itertools import product

import numpy as np
import pytest
from interpreted import Given, Run, stages
from minimised import ROUNDING, Quadratic, alone, signs, walk

# ---- Sophia


SOPHIAS = (
    "sophia(update_interval = 1)",
    "sophia_h(update_interval = 1)",
)


@pytest.mark.parametrize("rule", ["sophia()", "sophia(update_interval = 3)"])
def test_a_first_step_of_sophia_is_a_sign(rule):
    """The curvature is not known yet: optax has it after the step."""
    x = np.array([3.0, -0.2, 1e-6])
    after = walk(alone(f"precondition {rule}"), Quadratic([1.0, 2.0, 3.0]), x, 1)[1]
    np.testing.assert_array_equal(x - after, np.sign(x))


def test_sophia_h_is_newton_where_nothing_is_clipped():
    """Of a diagonal Hessian, without averages: it reaches the minimum in one step."""
    rule = "sophia_h(b1 = 0, b2 = 0, gamma = 1, update_interval = 1)"
    x, h = np.array([0.5, -0.9, 0.1]), np.array([0.3, 2.0, 50.0])
    after = walk(alone(f"precondition {rule}"), Quadratic(h), x, 1)[1]
    np.testing.assert_allclose(after, 0, atol=ROUNDING)


@pytest.mark.parametrize("rule", ["sophia", "sophia_h"])
def test_all_signs_together_find_the_diagonal_of_a_dense_hessian(rule):
    h = np.random.default_rng(6).normal(size=(4, 4))
    h, kept = h + h.T, []
    for probe in product((-1.0, 1.0), repeat=4):
        run = Run(
            alone(f"precondition {rule}(b2 = 0, update_interval = 1)"),
            [np.ones(4)],
            draw=lambda op, site, rounds, like, probe=probe: [np.array(probe)],
        )
        run.ask(Quadratic(h))
        kept.append(run.slot("nu")[0])
    np.testing.assert_allclose(np.mean(kept, axis=0), np.diag(h), atol=ROUNDING)


def test_much_curvature_makes_sophia_linear_in_its_momentum():
    rule = "sophia_h(b1 = 0.5, b2 = 0, gamma = 2, update_interval = 1)"
    x, h = np.array([0.5, -0.9, 0.1]), np.array([0.3, 2.0, 50.0])
    path = walk(alone(f"precondition {rule}"), Quadratic(h), x, 1)
    np.testing.assert_allclose(path[0] - path[1], 0.5 * h * x / (2 * h), rtol=ROUNDING)


@pytest.mark.parametrize("rule", SOPHIAS)
def test_no_coordinate_of_sophia_moves_further_than_its_rate(rule):
    """Also where curvature is negative, and where it is nothing."""
    path = walk(alone(f"precondition {rule}"), Quadratic([5.0, -1.0, 0.0, 1e-9]), [4.0] * 4, 12)
    assert np.all(np.abs(np.diff(path, axis=0)) <= 1.0)


@pytest.mark.parametrize("rule", SOPHIAS)
def test_sophia_never_goes_up_along_negative_curvature(rule):
    objective = Quadratic([-1.0, -0.5])
    path = walk(alone(f"precondition {rule}"), objective, [0.5, -2.0], 6)
    losses = [objective.loss([x]) for x in path]
    assert np.all(np.diff(losses) < 0)


def test_sophia_asks_for_curvature_in_its_interval_only():
    asked = []

    class Asked(Quadratic):
        def hvp(self, at, vector):
            asked.append(len(asked))
            return super().hvp(at, vector)

    walk("sophia", Asked([1.0, 2.0]), [1.0, 1.0], 21)
    assert len(asked) == 3  # at the steps 1, 11 and 21


# ---- AdaHessian


def test_adahessian_is_newton_after_its_bias_is_gone():
    """Of a diagonal Hessian at a fixed point: the debiased averages are the values themselves."""
    rule = "adahessian(b1 = 0, eps = 0)"
    x, h = np.array([0.5, -0.9, 0.1]), np.array([0.3, -2.0, 50.0])
    path = walk(alone(f"precondition {rule}"), Quadratic(h), x, 1)
    np.testing.assert_allclose(path[0] - path[1], h * x / np.abs(h), rtol=ROUNDING)


def test_adahessian_of_power_zero_is_debiased_momentum():
    x, h = np.array([0.5, -0.9]), np.array([0.3, 2.0])
    ours = walk(
        stages("precondition adahessian(power = 0, eps = 0)", "tune step 0.1"), Quadratic(h), x, 5
    )
    m, w = np.zeros(2), x
    for t in range(1, 6):
        m = 0.9 * m + 0.1 * h * w
        w = w - 0.1 * m / (1 - 0.9**t)
    np.testing.assert_allclose(ours[-1], w, rtol=ROUNDING)


def test_adahessian_shares_the_magnitude_of_an_output_unit():
    """The mean over inputs for each output of a matrix; vectors keep their own."""
    run = Run(
        alone("precondition adahessian(b1 = 0, eps = 0)"),
        [np.zeros((3, 2)), np.zeros(2)],
        draw=signs,
    )
    curved = [np.array([[1.0, -2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([2.0, -8.0])]

    class Objective(Given):
        def hvp(self, at, vector):
            return curved

    gradient = [np.ones((3, 2)), np.ones(2)]
    run._interpreter.oracles = Objective(gradient)
    outcome = run._interpreter.step(run.weights, run._slots, 1)
    np.testing.assert_allclose(-outcome.weights[0], np.tile([1 / 3, 1 / 4], (3, 1)), rtol=ROUNDING)
    np.testing.assert_allclose(-outcome.weights[1], [1 / 2, 1 / 8], rtol=ROUNDING)


# ---- Drawn labels


class Softmax(Given):
    """The mean cross entropy of a linear softmax model with 2 inputs and 3 classes.

    `labels` are those that are drawn, a row for each draw of a step.
    """

    inputs = np.array([[1.0, -0.5], [0.3, 2.0]])

    def __init__(self, labels) -> None:
        super().__init__([])
        self.labels = [list(each) for each in labels]
        self.drawn = 0

    def probabilities(self, at):
        raised = np.exp(self.inputs @ at[0].reshape(2, 3))
        return raised / raised.sum(axis=1, keepdims=True)

    def outputs_grad_of(self, at, labels):
        return (self.probabilities(at) - np.eye(3)[labels]) / len(self.inputs)

    def sampled_outputs_grad(self, at, site, rounds):
        self.drawn += 1
        return self.outputs_grad_of(at, self.labels[self.drawn - 1])

    def pullback(self, at, cotangent):
        return [(self.inputs.T @ cotangent).ravel()]

    def grad(self, at):
        return self.pullback(at, self.outputs_grad_of(at, [0, 2]))

    def per_example_grad(self, at):
        return [None] * len(self.inputs)

    def fisher(self, at):
        """Of the model: the sum over inputs of x x' times diag(p) - p p', over their number."""
        found = np.zeros((6, 6))
        for x, p in zip(self.inputs, self.probabilities(at), strict=True):
            found += np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p)) / len(self.inputs)
        return found


DRAWS = [(first, second) for first in range(3) for second in range(3)]
"""All labels that two examples may have."""

POINT = np.array([0.2, -0.4, 0.1, 0.9, 0.0, -0.3])


def weights_of_draws():
    p = Softmax([]).probabilities([POINT])
    return np.array([p[0, first] * p[1, second] for first, second in DRAWS])


def test_drawn_labels_estimate_the_diagonal_of_gauss_newton():
    """By enumeration: the mean over all labels of what `sophia_g` keeps is the diagonal."""
    rule = "precondition sophia_g(b1 = 0, b2 = 0, gamma = 1, eps = 1e-30, update_interval = 1)"
    kept = []
    for labels in DRAWS:
        run = Run(alone(rule), [POINT])
        run._interpreter.oracles = Softmax([labels])
        outcome = run._interpreter.step(run.weights, run._slots, 1)
        run._slots = outcome.slots
        kept.append(run.slot("nu")[0])
    found = weights_of_draws() @ np.stack(kept)
    np.testing.assert_allclose(found, np.diag(Softmax([]).fisher([POINT])), rtol=1e-12)


def test_a_sampled_fisher_is_that_of_its_draws_and_without_bias():
    """Three draws, two of which the next step keeps; all draws together are Fisher's matrix."""
    rule = "precondition sampled_fisher(size = 3, draws = 3, damping = 0.2)"
    labels = [DRAWS[1], DRAWS[5], DRAWS[6]]
    run = Run(alone(rule), [POINT])
    run._interpreter.oracles = objective = Softmax(labels)
    found = POINT - run._interpreter.step(run.weights, run._slots, 1).weights[0]
    rows = np.stack(
        [
            objective.pullback([POINT], objective.outputs_grad_of([POINT], list(each)))[0]
            for each in labels
        ]
    )
    dense = 0.2 * np.eye(6) + 2 * rows.T @ rows / 3
    (g,) = objective.grad([POINT])
    np.testing.assert_allclose(found, np.linalg.solve(dense, g), rtol=1e-12)
    every = np.stack(
        [
            objective.pullback([POINT], objective.outputs_grad_of([POINT], list(each)))[0]
            for each in DRAWS
        ]
    )
    mean = 2 * (every.T * weights_of_draws()) @ every
    np.testing.assert_allclose(mean, objective.fisher([POINT]), atol=1e-15)


def test_an_empirical_fisher_goes_with_newtons_rule():
    """Conjugate gradients on the squares of examples' gradients, against the dense matrix."""
    rng = np.random.default_rng(11)
    examples = rng.normal(size=(7, 4))

    class Examples(Given):
        def per_example_grad(self, at):
            return [[row] for row in examples]

    g = examples.mean(axis=0)
    rule = "precondition newton(empirical_fisher, damping = 0.3, iterations = 4)"
    after = walk(alone(rule), Examples([g]), np.zeros(4), 1)[1]
    dense = 0.3 * np.eye(4) + examples.T @ examples / len(examples)
    np.testing.assert_allclose(-after, np.linalg.solve(dense, g), rtol=1e-10)
