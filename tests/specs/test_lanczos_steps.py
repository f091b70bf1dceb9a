"""Steps that the batch's spectrum gives, by Lanczos' method (arXiv:2006.09092)."""

import numpy as np
import pytest
from functions import Function, descend, quadratic

ROUNDING = 1e-13
X = np.array([1.0, -2.0, 0.5])
UNIT = Function(lambda x: float(x @ x) / 2, lambda x: x, lambda x: np.eye(len(x)))


def test_a_lanczos_step_is_its_scale_over_the_largest_eigenvalue_and_kept_for_a_while():
    """As many steps as there are eigenvalues find them all. The bowl bends more near its middle."""
    bent = Function(
        UNIT.value, UNIT.slope, lambda x: np.diag([3.0, 1.0, -7.0]) / (0.1 + np.abs(x[0]))
    )
    descent = descend("lanczos_rate(1.5, steps = 3, refresh = 2)", bent, [1.0, 1.0, 1.0], 5)
    for t in range(5):
        x = descent.points[t - t % 2, 0]
        expected = 1.5 * (0.1 + abs(x)) / 3
        assert descent.sizes[t] == pytest.approx(expected, rel=1e-12)
    assert len(set(descent.sizes)) == 3


def test_fewer_lanczos_steps_see_less_of_the_largest_eigenvalue():
    eigenvalues = np.linspace(0.1, 4.0, 12)
    bowl = quadratic(*eigenvalues)
    sizes = [
        descend(f"lanczos_rate(steps = {steps})", bowl, np.ones(12)).sizes[0]
        for steps in (2, 4, 8, 12)
    ]
    assert (np.diff(sizes) < 0).all()
    assert sizes[-1] == pytest.approx(1 / 4.0, rel=1e-12)


@pytest.mark.parametrize("eigenvalue", [-1.0, 0.0, np.nan])
def test_there_is_no_lanczos_step_before_an_eigenvalue_was_positive(eigenvalue):
    bent = Function(UNIT.value, UNIT.slope, lambda x: np.full((1, 1), eigenvalue))
    assert descend("lanczos_rate()", bent, [1.0]).sizes[0] == 0
    (step,) = descend("1", bent, [1.0], 1, "precondition lanczos_heavy_ball()").steps
    np.testing.assert_array_equal(step, 0)


def test_a_learned_heavy_ball_has_the_rate_and_momentum_of_its_spectrum():
    """The radius of its iteration is the root of its momentum, for all eigenvalues in between."""
    eigenvalues = np.array([0.3, 1.0, 4.0])
    bowl = quadratic(*eigenvalues)
    ball = "precondition lanczos_heavy_ball(floor = 0.3, steps = 3)"
    descent = descend("1", bowl, X, 30, ball)
    low, high = np.sqrt(0.3), np.sqrt(4.0)
    rate, momentum = 4 / (high + low) ** 2, ((high - low) / (high + low)) ** 2
    x, before = X, X
    for point in descent.points[1:]:
        x, before = x - rate * bowl.slope(x) + momentum * (x - before), x
        np.testing.assert_allclose(point, x, rtol=0, atol=ROUNDING)
    for eigenvalue in eigenvalues:
        iteration = [[1 + momentum - rate * eigenvalue, -momentum], [1, 0]]
        radius = np.abs(np.linalg.eigvals(iteration)).max()
        # At both ends the matrix is defective, and rounding counts by its root.
        assert radius == pytest.approx(np.sqrt(momentum), rel=1e-7)


def ritz(h, g, steps):
    """The eigenvalues of `h` as Lanczos' method from `g` sees them, and their vectors."""
    basis = [g / np.linalg.norm(g)]
    for _ in range(steps - 1):
        v = h @ basis[-1]
        for _ in range(2):
            v = v - sum((b @ v) * b for b in basis)
        basis.append(v / np.linalg.norm(v))
    q = np.stack(basis, axis=1)
    values, vectors = np.linalg.eigh(q.T @ h @ q)
    return values, q @ vectors


@pytest.mark.parametrize("steps", [1, 3, 12])
@pytest.mark.parametrize("lowest", [0.1, -1.5])
def test_lanczos_sgd_divides_what_a_few_steps_see_by_its_magnitude(steps, lowest):
    """g / beta + sum of (1 / (|l| + beta) - 1 / beta) (q'g) q over the Ritz pairs (l, q) from g.

    As the code of arXiv:2006.09092 has it. Conjugate gradients end there for a positive Hessian.
    """
    curved, x, beta = quadratic(*np.linspace(lowest, 4.0, 12)), np.cos(np.arange(12.0)), 0.5
    g, h = curved.slope(x), curved.hessian(x)
    values, q = ritz(h, g, steps)
    expected = g / beta + q @ ((1 / (np.abs(values) + beta) - 1 / beta) * (q.T @ g))
    rules = [f"lanczos_sgd({beta}, {steps})"]
    rules += [f"newton(damping = {beta}, iterations = {steps})"] if lowest > 0 else []
    for rule in rules:
        (found,) = descend("1", curved, x, 1, f"precondition {rule}").steps
        # The condition of what is solved is 9.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.linalg.norm(g))
        assert found @ g > 0
    if steps == 12:
        eigenvalues, vectors = np.linalg.eigh(h)
        dense = (vectors / (np.abs(eigenvalues) + beta)) @ vectors.T @ g
        np.testing.assert_allclose(expected, dense, rtol=0, atol=1e-12 * np.linalg.norm(g))


def test_lanczos_sgd_rests_at_a_zero_gradient_and_divides_by_its_damping_without_curvature():
    bowl = quadratic(3.0, 1.0, 0.5)
    (step,) = descend("1", bowl, 0 * X, 1, "precondition lanczos_sgd()").steps
    np.testing.assert_array_equal(step, 0)
    flat = Function(lambda x: x[0], lambda x: np.ones(1), lambda x: np.zeros((1, 1)))
    (step,) = descend("1", flat, [3.0], 1, "precondition lanczos_sgd(4.0)").steps
    np.testing.assert_array_equal(step, 0.25)
