"""K-FAC lands where the Fisher matrix is a Kronecker product, and says what it cannot see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interpreted import Run, stages

import optc

N, INPUTS, OUTPUTS = 12, 4, 3
RANDOM = np.random.default_rng(2)
GIVEN = RANDOM.normal(size=(N, INPUTS))
LABELS = RANDOM.normal(size=(N, OUTPUTS))
NOISE = np.sqrt(OUTPUTS) * np.eye(OUTPUTS)[np.arange(N) % OUTPUTS]
"""What is drawn: the derivatives of half the squared errors have exactly the second moment I."""

SPEC = """
optimizer x(damping = 1e-12 in (0, inf)) {
  precondition kfac(damping = damping, norm_limit = inf) where ndim == 2
  tune step    1.0
}
"""


def regression(params, batch):
    return batch[0] @ params["kernel"]


def half_squared(outputs, batch):
    return jnp.mean(jnp.sum((outputs - batch[1]) ** 2, axis=-1)) / 2


def sampler(outputs, batch, key):
    return batch[0], outputs + batch[2], batch[2]


@pytest.fixture(autouse=True)
def double():
    """The programs here run in float64."""
    with jax.enable_x64(True):
        yield


def objective(model):
    return optc.Objective(outputs=model, loss=half_squared, sampler=sampler, batch_axis=0)


def test_one_step_of_a_linear_regression_lands_at_the_minimum():
    """Inputs and derivatives are independent: F = (X'X / N) (x) I exactly, up to the damping."""
    optimizer = optc.compile(SPEC)()
    params = {"kernel": jnp.zeros((INPUTS, OUTPUTS))}
    batch = tuple(jnp.asarray(x) for x in (GIVEN, LABELS, NOISE))
    state = optimizer.init(params, key=jax.random.key(0))
    params, _, _ = optimizer.step(params, state, batch, objective(regression))
    best = np.linalg.lstsq(GIVEN, LABELS)[0]
    # The damping is 1e-6 of the mean eigenvalue, once for each factor.
    np.testing.assert_allclose(params["kernel"], best, rtol=1e-4, atol=1e-4)


def test_a_matrix_that_is_no_layers_is_refused_with_its_name():
    optimizer = optc.compile(SPEC)()
    params = {"kernel": jnp.zeros((INPUTS, OUTPUTS)), "table": jnp.zeros((5, OUTPUTS))}
    batch = tuple(jnp.asarray(x) for x in (GIVEN, LABELS, NOISE))

    def looked_up(params, batch):
        return regression(params, batch) + params["table"][jnp.zeros(len(batch[0]), int)]

    state = optimizer.init(params, key=jax.random.key(0))
    message = (
        r"precondition kfac.* asks for the Fisher matrix of the layer of `table`, and the model"
    )
    with pytest.raises(ValueError, match=message):
        optimizer.step(params, state, batch, objective(looked_up))


def test_an_objective_without_a_sampler_is_refused():
    optimizer = optc.compile(SPEC)()
    missing = optc.Objective(outputs=regression, loss=half_squared, batch_axis=0)
    params = {"kernel": jnp.zeros((INPUTS, OUTPUTS))}
    state = optimizer.init(params, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"`fisher_rows`.* needs labels drawn from the model"):
        optimizer.step(params, state, (GIVEN, LABELS, NOISE), missing)


class Factors:
    """An objective that knows the two factors of its one layer."""

    def __init__(self, gradient, rows, columns):
        self.gradient, self.sides = gradient, (rows, columns)

    def grad(self, at):
        return [self.gradient]

    def loss(self, at):
        return 0.0

    def fisher_factors(self, at, axis, rounds):
        return [self.sides[axis]]


def test_the_damping_is_shared_by_the_mean_eigenvalues():
    given = RANDOM.normal(size=(3, 3)), RANDOM.normal(size=(2, 2))
    rows, columns = (x @ x.T for x in given)
    gradient = RANDOM.normal(size=(3, 2))
    run = Run(
        stages("precondition kfac(damping = 0.3, norm_limit = inf)", "..."), [np.zeros((3, 2))]
    )
    run.ask(Factors(gradient, rows, columns))
    share = np.sqrt(np.trace(rows) / 3 / (np.trace(columns) / 2))
    left = rows + share * np.sqrt(0.3) * np.eye(3)
    right = columns + np.sqrt(0.3) / share * np.eye(2)
    expected = np.linalg.solve(left, gradient) @ np.linalg.inv(right)
    np.testing.assert_allclose(-run.weights[0], expected, rtol=1e-12)


def test_factors_are_debiased_means_until_their_inverses_are_renewed():
    spec = "precondition kfac(0.8, damping = 0.3, refresh = 2, norm_limit = inf)"
    run = Run(stages(spec, "..."), [np.zeros((3, 2))])
    means = [np.zeros((3, 3)), np.zeros((2, 2))]
    for t in (1, 2, 3):
        sides = [x @ x.T for x in (RANDOM.normal(size=(3, 3)), RANDOM.normal(size=(2, 2)))]
        gradient, before = RANDOM.normal(size=(3, 2)), run.weights[0]
        run.ask(Factors(gradient, *sides))
        means = [0.8 * mean + 0.2 * side for mean, side in zip(means, sides, strict=True)]
        if t != 2:
            left, right = (mean / (1 - 0.8**t) for mean in means)
            share = np.sqrt(np.trace(left) / 3 / (np.trace(right) / 2))
            damped = left + share * np.sqrt(0.3) * np.eye(3)
            other = right + np.sqrt(0.3) / share * np.eye(2)
        expected = np.linalg.solve(damped, gradient) @ np.linalg.inv(other)
        np.testing.assert_allclose(before - run.weights[0], expected, rtol=1e-11)


def test_with_much_damping_it_is_the_gradient():
    gradient = RANDOM.normal(size=(3, 2))
    run = Run(stages("precondition kfac(damping = 1e12)", "..."), [np.zeros((3, 2))])
    run.ask(Factors(gradient, np.eye(3), np.eye(2)))
    np.testing.assert_allclose(-1e12 * run.weights[0], gradient, rtol=1e-5)


def test_the_length_in_the_fisher_norm_is_bounded_over_all_layers():
    gradient = 10 * RANDOM.normal(size=(3, 2))
    run = Run(
        stages("precondition kfac(damping = 1e-12, norm_limit = 0.25)", "..."), [np.zeros((3, 2))]
    )
    run.ask(Factors(gradient, np.eye(3), 2 * np.eye(2)))
    step = -run.weights[0]
    np.testing.assert_allclose(np.sum(step * step * 2), 0.25, rtol=1e-5)
