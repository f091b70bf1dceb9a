"""Methods that precondition by curvature: closed forms, limits, and what their code does.

All of it runs in the interpreter, in float64. `ROUNDING` is some hundred roundings of 2^-53.
"""

import numpy as np
import pytest
from interpreted import Given, Run, graph_of, stages

from optc.compiler.interpret import Interpreter, Tensors

ROUNDING = 1e-13


class Quadratic(Given):
    """The loss x'Hx / 2 - b'x of one vector; a diagonal H may be given as its diagonal."""

    def __init__(self, h, b=None) -> None:
        self.h = np.diag(h) if np.ndim(h) == 1 else np.asarray(h, float)
        self.b = np.zeros(len(self.h)) if b is None else np.asarray(b, float)

    def loss(self, at):
        (x,) = at
        return float(0.5 * x @ self.h @ x - self.b @ x)

    def grad(self, at):
        return [self.h @ at[0] - self.b]

    def hvp(self, at, vector):
        return [self.h @ vector[0]]

    def ggn(self, at, vector):
        return self.hvp(at, vector)


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


def signs(op, site, rounds, like):
    """Random fields of one sign: of a diagonal Hessian any sign finds the diagonal."""
    return [np.ones_like(x) for x in like]


def walk(spec, objective, x, steps, draw=signs, **values):
    """The weights before the first step, and after each."""
    graph = graph_of(spec)
    settings = {h.name: h.default for h in graph.hyperparameters} | values
    runner = Interpreter(graph, Tensors(["x"], ["float64"]), settings, objective, draw)
    weights, visited = [np.asarray(x, float)], [np.asarray(x, float)]
    slots = runner.start(weights)
    for number in range(steps):
        with np.errstate(divide="ignore", invalid="ignore"):  # what a `where` leaves out
            outcome = runner.step(weights, slots, number + 1)
        weights, slots = outcome.weights, outcome.slots
        visited.append(weights[0])
    return np.stack(visited)


def alone(stage):
    """A direction that is the whole step."""
    return stages(stage, "...")


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


# ---- M-FAC

WINDOW = 5


def windowed(damping, gradients, size=WINDOW):
    """The directions along some gradients."""
    run = Run(alone(f"precondition m_fac(size = {size}, damping = {damping})"), [np.zeros(12)])
    found = []
    for gradient in gradients:
        before = run.weights[0]
        run.step([gradient])
        found.append(before - run.weights[0])
    return found


def test_m_fac_is_the_inverse_of_the_dense_matrix_around_the_window():
    gradients = np.random.default_rng(0).normal(size=(3 * WINDOW, 12))
    for t, found in enumerate(windowed(0.1, gradients), 1):
        rows = gradients[max(0, t - WINDOW) : t]
        dense = 0.1 * np.eye(12) + rows.T @ rows / WINDOW
        np.testing.assert_allclose(found, np.linalg.solve(dense, gradients[t - 1]), rtol=1e-10)


def test_a_first_step_of_m_fac_has_a_closed_form():
    (g,) = np.random.default_rng(1).normal(size=(1, 12))
    (found,) = windowed(1e-5, [g])
    np.testing.assert_allclose(found, WINDOW / (WINDOW * 1e-5 + g @ g) * g, rtol=1e-9)


def test_m_fac_of_orthogonal_gradients_is_a_number_on_their_span():
    s, damping = 2.0, 0.3
    gradients = s * np.eye(12)[:WINDOW]
    for g, found in zip(gradients, windowed(damping, gradients), strict=True):
        np.testing.assert_allclose(found, WINDOW / (damping * WINDOW + s**2) * g, atol=ROUNDING)


def test_m_fac_with_much_damping_is_the_gradient():
    gradients = np.random.default_rng(2).normal(size=(7, 12))
    for g, found in zip(gradients, windowed(1e9, gradients), strict=True):
        # Some 12 / 1e9 of the window is left.
        np.testing.assert_allclose(1e9 * found, g, atol=1e-7)


# ---- L-BFGS


def test_lbfgs_ends_at_the_minimum_of_a_quadratic():
    """With exact steps along its directions it is conjugate gradients: as many steps as axes."""
    h = np.random.default_rng(3).normal(size=(6, 6))
    objective = Quadratic(h @ h.T + np.eye(6), b=np.arange(6.0))
    spec = stages("precondition lbfgs()", "...", step="tune step dot(u, grad(w)) / dot(u, hvp(u))")
    path = walk(spec, objective, np.ones(6), 6)
    exact = np.linalg.solve(objective.h, objective.b)
    start = np.linalg.norm(path[0] - exact)
    assert np.linalg.norm(path[6] - exact) < 1e-8 * start
    assert np.linalg.norm(path[3] - exact) > 1e-4 * start


def test_a_first_step_of_lbfgs_is_no_longer_than_one():
    """A gradient of norm above 1 is scaled to norm 1; a smaller one is the step."""
    for scale, length in ((10.0, 1.0), (0.1, 0.1)):
        g = scale * np.array([0.6, 0.8])
        run = Run(alone("precondition lbfgs()"), [np.zeros(2)])
        run.step([g])
        np.testing.assert_allclose(-run.weights[0], length * np.array([0.6, 0.8]), rtol=ROUNDING)


def test_lbfgs_leaves_out_steps_along_which_the_gradient_stays():
    """No change of the gradient says nothing of curvature: the step is the gradient again."""
    run = Run(alone("precondition lbfgs()"), [np.zeros(2)])
    for _ in range(3):
        before = run.weights[0]
        run.step([np.array([3.0, 4.0])])
    np.testing.assert_allclose(before - run.weights[0], [3.0, 4.0], rtol=ROUNDING)


# ---- Gauss-Newton


def test_a_gauss_newton_step_without_damping_ends_at_the_minimum_of_linear_least_squares():
    rng = np.random.default_rng(4)
    j, y = rng.normal(size=(9, 5)), rng.normal(size=9)
    objective = Quadratic(j.T @ j, b=j.T @ y)
    rule = "gauss_newton(damping = 0, iterations = 5)"
    after = walk(alone(f"precondition {rule}"), objective, rng.normal(size=5), 1)[1]
    np.testing.assert_allclose(after, np.linalg.lstsq(j, y)[0], rtol=1e-9)  # condition 100


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
