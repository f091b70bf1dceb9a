"""What is made of the last gradients: M-FAC and L-BFGS, closed forms and limits."""

import numpy as np
from interpreted import Run, stages
from minimised import ROUNDING, Quadratic, alone, walk

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


def test_m_fac_forgets_the_order_of_its_window():
    gradients = np.random.default_rng(5).normal(size=(WINDOW + 1, 12))
    turned = np.concatenate([gradients[[3, 1, 0, 2]], gradients[4:]])
    one, other = (windowed(0.1, each)[WINDOW - 1] for each in (gradients, turned))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_m_fac_is_the_recursion_of_its_paper():
    """F_i^-1 x from F_(i-1)^-1 x, one gradient of the window after another."""
    gradients = np.random.default_rng(9).normal(size=(WINDOW, 12))
    products = [row / 0.1 for row in gradients]
    for i in range(WINDOW):
        along = products[i]
        share = 1 / (WINDOW + gradients[i] @ along)
        products = [x - along * (gradients[i] @ x) * share for x in products]
    np.testing.assert_allclose(windowed(0.1, gradients)[-1], products[-1], rtol=1e-10)


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
