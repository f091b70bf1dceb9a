"""Step sizes in the interpreter: closed forms, the recursions of papers, and no step where none is.

Everything here is float64; `ROUNDING` is some hundred roundings of 2^-53.
"""

import numpy as np
import pytest
from functions import Function, descend, quadratic

ROUNDING = 1e-13
X = np.array([1.0, -2.0, 0.5])
ASCENT = "precondition times(-1)"
UNIT = Function(lambda x: float(x @ x) / 2, lambda x: x, lambda x: np.eye(len(x)))


def constant(value, slope, size=2):
    """A loss and a gradient that are the same everywhere, and belong to no function."""
    return Function(lambda x: value, lambda x: np.full(size, slope), lambda x: np.eye(size))


# ---- along the curvature


DIRECTIONS = {
    "gradient": (),
    "momentum": ("precondition momentum(0.9)",),
    "nesterov": ("precondition nesterov(0.9)",),
    "adam": ("precondition adam()",),
    "lion": ("precondition lion()",),
    "clipped and decayed": ("clip global_norm(0.1)", "decay weights(0.1)"),
}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_cdat_changes_a_quadratic_by_its_formula_along_any_direction(direction, scale):
    """-(s - s^2 / 2) (g'u)^2 / (u'Hu) where u descends, with g before any stage; else nothing."""
    bowl = quadratic(3.0, 1.0, 0.5)
    descent = descend(f"cdat({scale})", bowl, X, 8, *DIRECTIONS[direction])
    for x, step, eta in zip(descent.points, descent.steps, descent.sizes, strict=False):
        if eta < 1e-12:
            # Uphill, or along a direction that was searched exactly: rounding is left of its slope.
            assert np.linalg.norm(step) < 1e-12
            continue
        g, h, u = bowl.slope(x), bowl.hessian(x), step / eta
        most = (g @ u) ** 2 / (u @ h @ u)
        # The eps of 1e-12 in the denominator, and the rounding of what is left of the point.
        assert bowl.value(x - step) - bowl.value(x) == pytest.approx(
            -(scale - scale**2 / 2) * most, abs=1e-14 + most * (1e-13 + 3e-12 / (u @ h @ u))
        )


def test_cdat_waits_where_its_direction_ascends_unless_it_averages():
    """Lion keeps its signs after a step beyond the lowest point along them."""
    bowl = quadratic(3.0, 1.0, 0.5)
    plain = descend("cdat(1.5)", bowl, X, 9, "precondition lion()").sizes
    averaged = descend("cdat(1.5, beta = 0.9)", bowl, X, 9, "precondition lion()").sizes
    assert (plain == 0).any()
    assert (averaged > 0).all()


def test_cdat_averages_slope_and_curvature_before_it_divides_and_is_capped():
    bowl = quadratic(3.0, 1.0, 0.5)
    descent = descend("cdat(1.5, beta = 0.8, max_step = 0.52)", bowl, X, 10)
    n = d = 0.0
    for x, eta in zip(descent.points, descent.sizes, strict=False):
        g = bowl.slope(x)
        n = 0.8 * n + 0.2 * (g @ g)
        d = 0.8 * d + 0.2 * (g @ bowl.hessian(x) @ g + 1e-12)
        assert eta == pytest.approx(min(0.52, 1.5 * n / d), rel=ROUNDING)
    assert (descent.sizes == 0.52).any()
    assert (descent.sizes < 0.52).any()


def test_cdat_goes_as_far_as_it_may_without_curvature():
    flat = Function(lambda x: x[0], lambda x: np.ones(1), lambda x: np.zeros((1, 1)))
    np.testing.assert_array_equal(descend("cdat(max_step = 3)", flat, [0.0]).sizes, 3)
    np.testing.assert_allclose(descend("cdat(2.0, eps = 0.5)", flat, [0.0]).sizes, 4)


@pytest.mark.parametrize("curvature", [np.nan, np.inf])
@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_cdat_does_not_step_where_the_curvature_is_not_finite_and_forgets_it(curvature, beta):
    """The second of three steps has no curvature: the third is as if it had not been."""
    asked = iter([np.eye(1), np.full((1, 1), curvature), np.eye(1)])
    torn = Function(UNIT.value, UNIT.slope, lambda x: next(asked))
    sizes = descend(f"cdat(0.5, {beta})", torn, [1.0], 3).sizes
    np.testing.assert_allclose(sizes, [0.5, 0, 0.5], rtol=2e-11)


def test_cdat_along_the_gradient_is_cauchys_step_and_at_scale_2_goes_to_the_edge():
    """With 1 it lies in [1 / most, 1 / least] curvature; with 2, eta * most ends at 2."""
    bowl = quadratic(3.0, 2.0, 1.0, 0.5, 0.25)
    sizes = descend("cdat(1.0)", bowl, np.ones(5), 30).sizes
    assert ((sizes >= 1 / 3) & (sizes <= 4)).all()
    edge = descend("cdat(2.0)", bowl, np.ones(5), 600).sizes
    assert np.median(edge[300:]) * 3 == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize(
    ("slope", "curvature"), [(2.0, 3.0), (2.0, 0.3), (2.0, 0.0), (2.0, -1.0), (-2.0, 3.0)]
)
def test_greedy_is_the_best_step_of_the_quadratic_up_to_its_limit(slope, curvature):
    line = Function(
        lambda x: slope * x[0] + curvature * x[0] ** 2 / 2,
        lambda x: np.array([slope + curvature * x[0]]),
        lambda x: np.array([[curvature]]),
    )
    # Along +1, whatever the slope: the gradient's own sign taken back.
    stages = () if slope > 0 else (ASCENT,)
    eta = descend("greedy(max_step = 0.8)", line, [0.0], 1, *stages).sizes[0]
    tried = np.linspace(0, 0.8, 801)
    losses = [line.value([-s * slope if slope > 0 else s * slope]) for s in tried]
    assert eta == pytest.approx(tried[np.argmin(losses)], abs=1e-3)


def test_greedy_is_cdat_with_scale_1_on_a_bowl():
    bowl = quadratic(3.0, 1.0, 0.5)
    greedy, cdat = (descend(rule, bowl, X, 5) for rule in ("greedy(9)", "cdat(1, eps = 1e-300)"))
    np.testing.assert_allclose(greedy.sizes, cdat.sizes, rtol=ROUNDING)


@pytest.mark.parametrize("curvature", [np.nan, np.inf])
def test_greedy_does_not_step_where_the_curvature_is_not_finite(curvature):
    spoiled = Function(lambda x: 1.0, lambda x: np.ones(1), lambda x: np.array([[curvature]]))
    assert descend("greedy()", spoiled, [0.0]).sizes[0] == 0


def test_a_cauchy_step_ends_where_the_gradient_is_across_and_is_kept_for_a_while():
    bowl = quadratic(3.0, 1.0, 0.5)
    descent = descend("cauchy(refresh = 3)", bowl, X, 7)
    for t in (0, 3, 6):
        before, after = bowl.slope(descent.points[t]), bowl.slope(descent.points[t + 1])
        # The eps of 1e-12 beside the curvature.
        curvature = before @ bowl.hessian(X) @ before
        assert abs(before @ after) <= (before @ before) * (ROUNDING + 1.1e-12 / curvature)
    np.testing.assert_array_equal(descent.sizes[1:3], descent.sizes[0])
    np.testing.assert_array_equal(descent.sizes[4:6], descent.sizes[3])
    assert descent.sizes[3] != descent.sizes[0]


def test_a_cauchy_step_takes_curvature_by_its_size_and_keeps_the_last_where_it_is_no_number():
    saddle = quadratic(-2.0, -2.0)
    assert descend("cauchy()", saddle, [1.0, 1.0]).sizes[0] == pytest.approx(0.5)
    bends = Function(
        UNIT.value, UNIT.slope, lambda x: np.eye(1) if x[0] > 0.5 else np.full((1, 1), np.nan)
    )
    sizes = descend("0.5 * cauchy(refresh = 2)", bends, [1.0], 4).sizes
    np.testing.assert_allclose(sizes, 0.5, rtol=1.1e-12)


# ---- Polyak


def test_the_stochastic_polyak_step_with_constant_1_is_polyak_plus():
    bowl = quadratic(3.0, 1.0, 0.5)
    ours, plus = (
        descend(rule, bowl, X, 10).sizes
        for rule in ("sps_max(1, max_step = 0.6)", "polyak_plus(max_step = 0.6)")
    )
    np.testing.assert_allclose(ours, plus, rtol=ROUNDING)
    assert (ours == 0.6).any()
    assert (ours < 0.6).any()


def test_the_stochastic_polyak_step_with_constant_one_half_ends_an_isotropic_bowl():
    descent = descend("sps_max()", quadratic(0.25, 0.25), [1.0, 2.0])
    assert descent.sizes[0] == 1, "the cap"
    descent = descend("sps_max(max_step = 9)", quadratic(0.25, 0.25), [1.0, 2.0])
    np.testing.assert_allclose(descent.sizes, 4, rtol=ROUNDING)
    np.testing.assert_allclose(descent.points[-1], 0, atol=1e-15)


def test_a_smooth_polyak_step_is_that_of_the_authors_code():
    """min(gamma^(1/n) last, loss / (c |g|^2)), from `init_step_size`; its eps is 1e-8 there."""
    bowl = quadratic(3.0, 1.0, 0.05)
    descent = descend("sps_smooth(period = 4, initial = 0.2)", bowl, X, 20)
    last = 0.2
    for x, eta in zip(descent.points, descent.sizes, strict=False):
        g = bowl.slope(x)
        last = min(2 ** (1 / 4) * last, bowl.value(x) / (0.5 * (g @ g)))
        assert eta == pytest.approx(last, rel=ROUNDING)
    ratios = descent.sizes[1:] / descent.sizes[:-1]
    assert (ratios < 2 ** (1 / 4) - 1e-3).any()
    assert ratios.max() == pytest.approx(2 ** (1 / 4))


def test_decsps_is_the_recursion_of_its_paper():
    """gamma_k = min(gap / |g|^2, c_(k-1) gamma_(k-1)) / c_k, where c_k = c sqrt(k + 1)."""
    bowl = quadratic(3.0, 1.0, 0.05)
    descent = descend("decsps(c = 2, max_step = 0.3, f_min = -1)", bowl, X, 12)
    gamma, c_before = 0.3, 2.0
    for k, (x, eta) in enumerate(zip(descent.points, descent.sizes, strict=False)):
        g, c = bowl.slope(x), 2 * np.sqrt(k + 1)
        gamma, c_before = min((bowl.value(x) + 1) / (g @ g), c_before * gamma) / c, c
        assert eta == pytest.approx(gamma, rel=ROUNDING)
    assert (np.diff(descent.sizes) < 0).all()


STOCHASTIC = ("sps_max(f_min = 0)", "sps_smooth()", "decsps()")


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", STOCHASTIC)
def test_polyak_s_step_skips_a_loss_that_is_not_finite(rule, loss):
    flags = iter([2.0] * 2 + [loss] * 2 + [2.0] * 2)
    losses = {}

    def value(x):
        return losses.setdefault(x.tobytes(), None) or next(flags)

    # Each step asks once, for its report, and once for itself.
    spoiled = Function(value, lambda x: np.ones(2))
    sizes = descend(rule, spoiled, [1.0, 2.0], 3).sizes
    assert sizes[1] == 0
    assert 0 < sizes[2] <= sizes[0] * 1.01


@pytest.mark.parametrize("rule", STOCHASTIC)
def test_polyak_s_step_does_not_ascend_nor_go_below_the_best(rule):
    assert descend(rule, UNIT, [1.0, 2.0], 1, ASCENT).sizes[0] == 0
    assert descend(rule, constant(-1.0, 1.0), [1.0, 2.0]).sizes[0] == 0
    assert descend(rule, constant(1.0, 0.0), [1.0, 2.0]).sizes[0] == 0


# ---- hypergradients


@pytest.mark.parametrize("before", [(), ("precondition adam(0.8, 0.9)",)])
def test_a_hypergradient_is_the_derivative_of_the_loss_in_the_last_step_size(before):
    """By central differences, along the directions that the run itself took."""
    valley = quadratic(3.0, 1.0, 0.5)
    rate, h = 1e-3, 1e-4
    descent = descend(f"hypergradient(0.05, {rate})", valley, X, 10, *before)
    assert descent.sizes[0] == 0.05
    for t in range(1, 10):
        x, u = descent.points[t - 1], descent.steps[t - 1] / descent.sizes[t - 1]
        eta = descent.sizes[t - 1]
        derivative = (valley.value(x - (eta + h) * u) - valley.value(x - (eta - h) * u)) / (2 * h)
        # Exact for a quadratic but for the rounding of its values, 1e-16 / 1e-4.
        assert descent.sizes[t] - eta == pytest.approx(-rate * derivative, abs=1e-3 * 1e-10)


def test_a_multiplied_hypergradient_grows_by_the_cosine():
    bowl = quadratic(3.0, 1.0, 0.5)
    descent = descend("hypergradient_multiplicative(0.1, 0.3)", bowl, X, 10)
    gs = [bowl.slope(x) for x in descent.points]
    for t in range(1, 10):
        cosine = gs[t] @ gs[t - 1] / (np.linalg.norm(gs[t]) * np.linalg.norm(gs[t - 1]))
        expected = descent.sizes[t - 1] * (1 + 0.3 * cosine)
        assert descent.sizes[t] == pytest.approx(expected, rel=ROUNDING)


def test_a_rate_of_a_rate_of_zero_is_gradient_descent():
    bowl = quadratic(3.0, 1.0, 0.5)
    for rule in ("hypergradient(0.1, 0)", "hypergradient_multiplicative(0.1, 0)"):
        np.testing.assert_array_equal(descend(rule, bowl, X, 5).sizes, 0.1)


def test_a_hypergradient_stops_at_zero_and_starts_again():
    """The gradient turns over at 0 with each step, until the rate would fall below zero."""
    descent = descend("hypergradient(2.5, 1.0)", UNIT, [1.0], 3)
    # x: 1, -1.5; the inner product is -1.5. Then -1.5 + 1.5 = 0: nothing is gained.
    np.testing.assert_allclose(descent.sizes, [2.5, 1.0, 1.0], rtol=ROUNDING)
    descent = descend("hypergradient(3.0, 4.0)", UNIT, [1.0], 3)
    # x: 1, -2; the product is -2, and 3 - 8 is below zero. Then x = -2 stays: 4 * 4 is gained.
    np.testing.assert_allclose(descent.sizes, [3.0, 0.0, 16.0], rtol=ROUNDING)


@pytest.mark.parametrize("rule", ["hypergradient(0.1, 0.1)", "hypergradient_multiplicative(0.1)"])
@pytest.mark.parametrize("slope", [np.nan, np.inf, 0.0])
def test_a_hypergradient_that_is_no_number_changes_nothing(rule, slope):
    np.testing.assert_array_equal(descend(rule, constant(1.0, slope), X[:2], 3).sizes, 0.1)


# ---- Barzilai and Borwein


@pytest.mark.parametrize("short", [False, True])
def test_barzilai_borwein_is_the_exact_step_of_the_gradient_before(short):
    """The long one is Cauchy's g'g / g'Hg, the short one g'Hg / g'H^2 g, of the last gradient."""
    bowl = quadratic(3.0, 1.0, 0.5)
    word = "true" if short else "false"
    descent = descend(f"barzilai_borwein(0.1, short = {word})", bowl, X, 12)
    assert descent.sizes[0] == 0.1
    for x, eta in zip(descent.points, descent.sizes[1:], strict=False):
        g, h = bowl.slope(x), bowl.hessian(x)
        hg = h @ g
        exact = (g @ hg) / (hg @ hg) if short else (g @ g) / (g @ hg)
        # The differences of gradients lose what the last step was smaller than its point.
        assert eta == pytest.approx(exact, rel=1e-9)
        assert 1 / 3 - 1e-9 <= eta <= 1 / 0.5 + 1e-9


def test_barzilai_borwein_ends_a_bowl_of_one_curvature_at_its_second_step():
    descent = descend("barzilai_borwein(0.1)", quadratic(4.0, 4.0), [1.0, 2.0], 2)
    np.testing.assert_allclose(descent.points[-1], 0, atol=1e-15)


def test_barzilai_borwein_keeps_its_size_where_the_curvature_is_not_positive():
    np.testing.assert_array_equal(
        descend("barzilai_borwein(0.1)", quadratic(-1.0, -1.0), [1.0, 2.0], 4).sizes, 0.1
    )
    np.testing.assert_array_equal(
        descend("barzilai_borwein(0.1)", constant(1.0, 1.0), [1.0, 2.0], 4).sizes, 0.1
    )


def test_a_bounded_barzilai_borwein_step_is_no_longer_than_its_bound():
    bowl = quadratic(3.0, 1.0, 0.02)
    descent = descend("barzilai_borwein(0.1, max_length = 0.2)", bowl, X, 60)
    lengths = np.linalg.norm(descent.steps, axis=1)
    assert lengths.max() == pytest.approx(0.2)
    assert lengths[-1] < 1e-6, "where it does not bind it is the plain method"


def test_the_plain_barzilai_borwein_method_may_cycle_where_the_bounded_one_converges():
    """A convex function of one variable from whose ends the plain steps overshoot for ever."""
    bent = Function(lambda x: np.sqrt(1 + x @ x), lambda x: x / np.sqrt(1 + x @ x))
    plain = descend("barzilai_borwein(20.0)", bent, [3.0], 60).points[-1]
    bounded = descend("barzilai_borwein(20.0, max_length = 1)", bent, [3.0], 60).points[-1]
    assert abs(bounded) < 1e-8
    assert not abs(plain) < abs(bounded)
