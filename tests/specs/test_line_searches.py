"""Line searches in the interpreter: the conditions that they promise, and what ends without."""

import numpy as np
import pytest
from functions import Function, descend, quadratic, rosenbrock
from interpreted import Run, stages

X = np.array([1.0, -2.0, 0.5])
SEARCHES = ("armijo", "goldstein", "wolfe")


def effective(function, descent):
    """eta u'Hu / g'u of each step along the gradient: 1 is the exact search of a quadratic."""
    gs = np.array([function.slope(x) for x in descent.points[:-1]])
    hs = np.array([function.hessian(x) @ g for x, g in zip(descent.points, gs, strict=False)])
    return descent.sizes * np.sum(gs * hs, axis=1) / np.sum(gs * gs, axis=1)


# ---- what is accepted


@pytest.mark.parametrize("c", [0.1, 0.25, 0.45])
def test_goldstein_keeps_the_effective_step_of_a_quadratic_between_2c_and_2_minus_2c(c):
    bowl = quadratic(3.0, 1.0, 0.5)
    for start in (1e-3, 1.0, 40.0):
        descent = descend(f"goldstein(c = {c}, start = {start})", bowl, X, 20)
        sigma = effective(bowl, descent)
        # The losses, above 1e-9, are of 1e-16 of their size.
        assert (2 * c * (1 - 1e-6) <= sigma).all()
        assert (sigma <= 2 * (1 - c) * (1 + 1e-6)).all()


@pytest.mark.parametrize("c2", [0.05, 0.5, 0.9])
def test_wolfe_keeps_the_effective_step_of_a_quadratic_within_c2_of_1(c2):
    """The slope along the step is (1 - sigma) times that at its start."""
    bowl = quadratic(3.0, 1.0, 0.5)
    for start in (1e-3, 1.0, 40.0):
        sigma = effective(bowl, descend(f"wolfe(c2 = {c2}, start = {start})", bowl, X, 10))
        assert (abs(sigma - 1) <= c2 + 1e-9).all()


@pytest.mark.parametrize("rule", ["wolfe(c2 = 0.9)", "wolfe(c2 = 0.1)", "wolfe(keep = false)"])
def test_wolfe_keeps_both_conditions_in_a_curved_valley(rule):
    c2 = 0.1 if "0.1" in rule else 0.9
    valley = rosenbrock()
    descent = descend(rule, valley, [-1.2, 1.0], 50)
    for before, after, eta in zip(
        descent.points[:-1], descent.points[1:], descent.sizes, strict=True
    ):
        g = valley.slope(before)
        assert eta > 0
        assert valley.value(after) <= valley.value(before) - 1e-4 * eta * (g @ g)
        assert abs(g @ valley.slope(after)) <= c2 * (g @ g)


def test_wolfe_leads_lbfgs_through_the_valley():
    """Its first trial, of 1, is taken nearly always, and it ends where nothing is left."""
    descent = descend("wolfe(keep = false)", rosenbrock(), [-1.2, 1.0], 40, "precondition lbfgs()")
    np.testing.assert_allclose(descent.points[-1], 1, atol=1e-10)
    assert sum(descent.trials) < 60


@pytest.mark.parametrize("rule", SEARCHES)
def test_a_first_trial_that_keeps_the_conditions_is_the_only_one(rule):
    bowl = quadratic(1.0, 1.0)
    descent = descend(f"{rule}(start = 1)", bowl, [1.0, 2.0])
    assert descent.sizes[0] == 1
    assert descent.trials == [1]


def test_trials_grow_until_they_are_long_enough():
    """Of 0.05 x^2 the exact step is 10. Armijo has no lower bound and takes what it tries."""
    bowl = quadratic(0.1, 0.1)
    assert descend("goldstein(start = 1, grow = 3)", bowl, [1.0, 2.0]).sizes[0] == 9
    assert descend("wolfe(start = 1, grow = 3, c2 = 0.5)", bowl, [1.0, 2.0]).sizes[0] == 9
    assert descend("armijo(start = 1)", bowl, [1.0, 2.0]).sizes[0] == 1


@pytest.mark.parametrize("rule", ["goldstein", "wolfe"])
def test_a_longest_step_is_never_too_short(rule):
    line = Function(lambda x: -float(x[0]), lambda x: np.array([-1.0]))
    descent = descend(f"{rule}(start = 1, max_step = 6)", line, [0.0], 2)
    np.testing.assert_array_equal(descent.sizes, [6, 6])
    assert descent.trials == [4, 1], "1, 2, 4, 6, and then the last step at once"


@pytest.mark.parametrize("rule", ["goldstein", "wolfe"])
def test_after_the_last_trial_the_best_that_fell_enough_is_taken(rule):
    line = Function(lambda x: -float(x[0]), lambda x: np.array([-1.0]))
    descent = descend(f"{rule}(start = 1, limit = 4)", line, [0.0], 2)
    np.testing.assert_array_equal(descent.sizes, [8, 64])


def test_armijo_starts_from_its_longest_step_where_it_grows_without_end():
    bowl = quadratic(1.0, 1.0)
    rule = "armijo(start = 0.3, grow = inf, shrink = 0.5, c = 0.4, max_step = 4)"
    # Accepted is what is at most 2 (1 - c) = 1.2.
    np.testing.assert_array_equal(descend(rule, bowl, [1.0, 2.0], 3).sizes, [0.3, 1, 1])


# ---- no step


def flat(value, slope=1.0):
    """A loss of one value, whose gradient says otherwise."""
    return Function(lambda x: value, lambda x: np.full(2, slope))


@pytest.mark.parametrize("rule", SEARCHES)
def test_a_direction_that_ascends_is_not_followed_nor_tried(rule):
    bowl = quadratic(1.0, 2.0)
    descent = descend(f"{rule}()", bowl, [1.0, 2.0], 2, "precondition times(-1)")
    np.testing.assert_array_equal(descent.sizes, 0)
    assert descent.trials == [0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", SEARCHES)
def test_nothing_is_tried_where_the_loss_is_not_finite(rule, value):
    descent = descend(f"{rule}()", flat(value), [1.0, 2.0], 2)
    np.testing.assert_array_equal(descent.sizes, 0)
    assert descent.trials == [0, 0]


@pytest.mark.parametrize("rule", SEARCHES)
def test_there_is_no_step_where_no_trial_falls(rule):
    """The gradient promises what the loss does not keep, as rounding does near a minimum."""
    descent = descend(f"{rule}(limit = 5)", flat(1.0), [1.0, 2.0], 3)
    np.testing.assert_array_equal(descent.sizes, 0)
    np.testing.assert_array_equal(descent.points, [[1.0, 2.0]] * 4)
    assert max(descent.trials) <= 6


@pytest.mark.parametrize("rule", SEARCHES)
def test_a_search_goes_on_below_what_an_earlier_one_has_tried(rule):
    """Accepted is what is below 1e-6: some searches of 5 trials get there."""
    needle = Function(
        lambda x: 1 + float(x[0]) if abs(x[0]) <= 1e-6 else 2.0, lambda x: np.array([1.0])
    )
    sizes = descend(f"{rule}(start = 1, limit = 5)", needle, [0.0], 30).sizes
    found = np.flatnonzero(sizes)
    assert 0 < found[0] < 29
    assert 0 < sizes[found[0]] <= 1e-6


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", SEARCHES)
def test_a_trial_whose_loss_is_not_finite_is_too_long(rule, spoiled):
    """Below 0.9 the loss has no value; the first trial, and the long ones, land there."""
    bowl = Function(
        lambda x: float(x @ x) / 2 if x[0] > 0.9 else spoiled,
        lambda x: x if x[0] > 0.9 else np.array([spoiled]),
    )
    descent = descend(f"{rule}()", bowl, [1.0], 10)
    assert (descent.points > 0.9).all()
    assert (descent.sizes[:2] > 0).all()


def test_wolfe_takes_a_trial_with_a_gradient_that_is_no_number_for_too_long():
    bowl = Function(lambda x: float(x @ x) / 2, lambda x: x if x[0] > 0.3 else np.array([np.nan]))
    descent = descend("wolfe()", bowl, [1.0])
    assert descent.points[-1, 0] == 0.5
    assert descent.trials == [2]


@pytest.mark.parametrize("rule", SEARCHES)
def test_a_search_that_found_nothing_for_long_recovers(rule):
    """The last trial is kept above 1e-30, from where it grows again."""
    run = Run(stages(f"tune step {rule}()", "observe eta as eta"), [np.array([1.0, 2.0])])
    for _ in range(50):
        assert run.ask(flat(1.0, slope=1e20)).observed["eta"] == 0
    sizes = [run.ask(quadratic(1.0, 1.0)).observed["eta"] for _ in range(180)]
    assert max(sizes) > 0.1
