"""Newton, Gauss-Newton and their dampings: closed forms, limits, and what is refused."""

import numpy as np
import pytest
from interpreted import Given, Run, stages
from minimised import ROUNDING, Quadratic, alone, walk


class Quartic(Given):
    """The loss c x^4 / 4 of one number, with its exact curvature."""

    def __init__(self, scale=1.0) -> None:
        self.scale = scale

    def loss(self, at):
        return float(self.scale * np.sum(at[0] ** 4) / 4)

    def grad(self, at):
        return [self.scale * at[0] ** 3]

    def ggn(self, at, vector):
        return [self.scale * 3 * at[0] ** 2 * vector[0]]


class Residuals(Given):
    """Half the squared norm of (10 (y - x^2), 1 - x), which is Rosenbrock's function over 2."""

    def outputs(self, at):
        (w,) = at
        return np.array([10 * (w[1] - w[0] ** 2), 1 - w[0]])

    def jacobian(self, at):
        (w,) = at
        return np.array([[-20 * w[0], 10.0], [-1.0, 0.0]])

    def loss(self, at):
        return float(self.outputs(at) @ self.outputs(at) / 2)

    def grad(self, at):
        return [self.jacobian(at).T @ self.outputs(at)]

    def ggn(self, at, vector):
        j = self.jacobian(at)
        return [j.T @ (j @ vector[0])]


class Flat(Given):
    """A gradient, and no curvature; the loss falls along the gradient, as it says."""

    def loss(self, at):
        return float(self._gradient[0] @ at[0])

    def ggn(self, at, vector):
        return [0 * vector[0]]


# ---- Gauss-Newton


def test_a_gauss_newton_step_without_damping_ends_at_the_minimum_of_linear_least_squares():
    rng = np.random.default_rng(4)
    j, y = rng.normal(size=(9, 5)), rng.normal(size=9)
    objective = Quadratic(j.T @ j, b=j.T @ y)
    rule = "gauss_newton(damping = 0, iterations = 5)"
    after = walk(alone(f"precondition {rule}"), objective, rng.normal(size=5), 1)[1]
    np.testing.assert_allclose(after, np.linalg.lstsq(j, y)[0], rtol=1e-9)  # condition 100


def test_without_damping_a_change_of_variables_changes_no_step():
    """With w = T u the steps are T times those of u, as of any Newton step."""
    rng = np.random.default_rng(8)
    h, t, b = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)) + 2 * np.eye(4), rng.normal(size=4)
    h = h @ h.T + np.eye(4)
    spec = stages("precondition gauss_newton(damping = 0, iterations = 8)", "tune step 0.3")
    start = rng.normal(size=4)
    ours = walk(spec, Quadratic(h, b=b), t @ start, 3)
    theirs = walk(spec, Quadratic(t.T @ h @ t, b=t.T @ b), start, 3)
    np.testing.assert_allclose(ours, theirs @ t.T, rtol=1e-8)  # the condition is some 1e4


@pytest.mark.parametrize("rule", ["gauss_newton", "newton"])
def test_much_damping_makes_a_gradient_step(rule):
    objective, x = Quadratic([1.0, 4.0, 0.1]), np.array([1.0, -2.0, 3.0])
    after = walk(alone(f"precondition {rule}(damping = 1e4)"), objective, x, 1)[1]
    np.testing.assert_allclose((x - after) * 1e4, objective.h @ x, rtol=4e-4)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_newton_along_no_positive_curvature_is_the_gradient_or_the_iterate_before(size):
    """Conjugate gradients see the negative eigenvalue in the first direction or in a later one."""
    h, x = np.array([-1.0, 2.0, 30.0])[:size], np.array([1.0, 0.3, 0.01])[:size]
    rule = "newton(damping = 0, iterations = 5)"
    after = walk(alone(f"precondition {rule}"), Quadratic(h), x, 1)[1]
    g, step = h * x, x - after
    assert step @ g > 0
    if g @ (h * g) <= 0:
        np.testing.assert_array_equal(step, g)


def test_damping_follows_how_well_the_model_foretells_the_loss():
    """A quadratic is foretold exactly, so that each step multiplies the damping by its factor."""
    objective = Quadratic([1.0, 3.0], b=[1.0, 1.0])
    rule = "levenberg_marquardt(initial = 3, factor = 0.5, iterations = 2)"
    x = np.array([2.0, -1.0])
    path = walk(alone(f"precondition {rule}"), objective, x, 4)
    for number, now in enumerate(path[1:]):
        damping = 3 * 0.5**number
        x = x - np.linalg.solve(objective.h + damping * np.eye(2), objective.h @ x - objective.b)
        np.testing.assert_allclose(now, x, rtol=1e-11)


def test_a_step_that_raises_the_loss_is_refused_and_damped_more():
    """Of x^4 / 4 with a curvature that is a tenth of the true one a full step goes too far."""

    class Wrong(Quartic):
        def ggn(self, at, vector):
            return [0.1 * x for x in super().ggn(at, vector)]

    rule = "levenberg_marquardt(initial = 0.01, factor = 0.5, iterations = 1)"
    path = walk(alone(f"precondition {rule}"), Wrong(), [1.0], 12)[:, 0]
    refused = np.diff(path) == 0
    assert refused[0]
    assert not refused.all()
    assert np.all(np.diff(path**4) <= 0)


def test_a_loss_that_is_no_number_refuses_the_step():
    class Undefined(Quadratic):
        def loss(self, at):
            return super().loss(at) if at[0][0] >= 1 else float("nan")

    rule = "levenberg_marquardt(initial = 1e-3, factor = 0.1)"
    path = walk(alone(f"precondition {rule}"), Undefined([1.0]), [1.2], 6)[:, 0]
    assert path[1] == path[0]
    assert np.all(np.isfinite(path))
    assert 1 <= path[-1] < 1.2


def test_a_cold_start_of_hessian_free_is_gauss_newton_and_a_warm_one_goes_on():
    """Where the weights stay, iterations of each step add up to the exact solution."""
    h = np.diag([1.0, 5.0, 20.0, 60.0])
    objective, x = Quadratic(h), np.ones(4)
    size = "damping = 0.1, iterations = 2"
    cold = walk(alone(f"precondition hessian_free({size}, warm = 0)"), objective, x, 3)
    plain = walk(alone(f"precondition gauss_newton({size})"), objective, x, 3)
    np.testing.assert_allclose(cold, plain, rtol=ROUNDING)
    exact = np.linalg.solve(h + 0.1 * np.eye(4), h @ x)
    run = Run(alone(f"precondition hessian_free({size}, warm = 1)"), [x])
    run._interpreter.oracles = objective
    left = []
    for _ in range(40):
        outcome = run._interpreter.step(run.weights, run._slots, 1)
        run._slots = outcome.slots
        left.append(np.linalg.norm(x - outcome.weights[0] - exact))
    assert np.all(np.diff(left) < 0)
    assert left[-1] < 1e-3 * left[0]


# ---- Gradient-normalised smoothness


EXACT = "gns_newton(eps = 0, iterations = 1)"


def test_the_sequence_of_the_page_on_a_parabola():
    """Every trial passes: the radii are 1, 2, 4, 8 and 16."""
    path = walk(alone(f"precondition {EXACT}"), Quadratic([1.0]), [1.0], 5)[:, 0]
    expected = [1.0, 0.5, 0.1, 2.4390243902e-3, 7.433783573e-7, 3.4538e-14]
    np.testing.assert_allclose(path[:4], expected[:4], rtol=1e-10)
    np.testing.assert_allclose(path[4:], expected[4:], rtol=1e-4)


def test_the_sequence_of_the_page_on_a_quartic():
    """The radius is halved once at the third and at the fourth step."""
    path = walk(alone(f"precondition {EXACT}"), Quartic(), [1.0], 5)[:, 0]
    expected = [1.0, 0.75, 0.5277777778, 0.3592633654, 0.2429899744, 0.1636008791]
    np.testing.assert_allclose(path, expected, rtol=1e-9)


def test_a_factor_of_the_loss_changes_no_iterate():
    one, many = (
        walk(alone(f"precondition {EXACT}"), Quartic(scale), [1.0], 6) for scale in (1.0, 300.0)
    )
    np.testing.assert_allclose(one, many, rtol=1e-12)


def test_without_curvature_a_step_is_as_long_as_the_radius():
    """A gradient that stays needs a step along which the loss falls by an eighth of the step."""
    g = np.array([3.0, 4.0])
    path = walk(alone("precondition gns_newton(eps = 0, initial = 0.25)"), Flat([g]), [0, 0], 4)
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=1), [0.25, 0.5, 1, 2])


def test_no_step_is_longer_than_its_radius():
    rng = np.random.default_rng(7)
    h = rng.normal(size=(4, 4))
    path = walk(
        alone("precondition gns_newton(initial = 0.1)"), Quadratic(h @ h.T), rng.normal(size=4), 5
    )
    assert np.all(np.linalg.norm(np.diff(path, axis=0), axis=1) <= 0.1 * 2.0 ** np.arange(5))


def test_a_trial_whose_loss_is_no_number_fails():
    class Undefined(Quadratic):
        def loss(self, at):
            return super().loss(at) if abs(at[0][0]) >= 0.5 else float("nan")

    path = walk(alone(f"precondition {EXACT}"), Undefined([1.0]), [0.9], 3)[:, 0]
    assert np.all(np.abs(path) >= 0.5)
    assert path[1] < 0.9


@pytest.mark.parametrize("spec", ["gns_newton", "gauss_newton"])
def test_a_gradient_of_zero_moves_nothing(spec):
    path = walk(spec, Quadratic([1.0, 2.0]), [0.0, 0.0], 3)
    np.testing.assert_array_equal(path, 0)


@pytest.mark.parametrize("spec", ["gns_newton", "gauss_newton"])
def test_rosenbrocks_valley_is_followed_to_its_end(spec):
    path = walk(spec, Residuals([]), [-1.2, 1.0], 60)
    np.testing.assert_allclose(path[-1], [1.0, 1.0], atol=1e-6)


def test_a_step_that_is_no_number_is_refused_and_a_damping_stays_finite():
    """A gradient that is none moves nothing; damping grows to `largest`, and falls again after."""
    rule = "levenberg_marquardt(initial = 1, factor = 0.1, largest = 1e3, iterations = 1)"
    run = Run(alone(f"precondition {rule}"), [np.array([2.0])])
    broken = Quadratic([1.0])
    broken.grad = lambda at: [np.array([np.nan])]
    for _ in range(5):
        run.ask(broken)
    np.testing.assert_array_equal(run.weights[0], [2.0])
    assert run.slot("damping") == 1e3
    run.ask(Quadratic([1.0]))
    assert run.slot("damping") == pytest.approx(1e2)


def test_a_radius_stays_finite_where_nothing_is_left_to_do():
    run = Run("gns_newton", [np.zeros(2)], radius=1e25)
    for _ in range(30):
        run.ask(Quadratic([1.0, 2.0]))
    assert run.slot("gamma") == 1e30


def test_a_large_radius_is_newtons_step():
    h = np.diag([1.0, 5.0]) + 0.5
    path = walk("gns_newton", Quadratic(h, b=[1.0, 2.0]), [3.0, -1.0], 1, radius=1e12)
    np.testing.assert_allclose(path[1], np.linalg.solve(h, [1.0, 2.0]), rtol=1e-10)
