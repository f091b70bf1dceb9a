"""What the pages of the special methods derive, through the interpreter in float64."""

import numpy as np
import pytest
from interpreted import Run, signal, stages

RNG = np.random.default_rng(7)
MATRIX = RNG.normal(size=(4, 3))
BIAS = RNG.normal(size=(3,))
GRADIENTS = [(RNG.normal(size=(4, 3)), RNG.normal(size=(3,))) for _ in range(8)]


def norms(x):
    """The length of each output unit of a kernel laid out input first."""
    return np.linalg.norm(x, axis=0)


# ---- weight normalisation


def reparametrised(exponential, lr, renormalise):
    """Gradient descent on scale and direction of each unit, by the chain rule."""
    scale = np.log(norms(MATRIX)) if exponential else norms(MATRIX)
    v = MATRIX / norms(MATRIX)
    for g, _ in GRADIENTS:
        length = np.exp(scale) if exponential else scale
        heading = v / norms(v)
        along = (heading * g).sum(axis=0)
        d_scale = length * along if exponential else along
        d_v = length / norms(v) * (g - along * heading)
        assert np.abs((d_v * v).sum(axis=0)).max() < 1e-13, "orthogonal to v"
        v = v - lr * d_v
        scale = scale - lr * d_scale
        if renormalise:
            v = v / norms(v)
    return (np.exp(scale) if exponential else scale) * v / norms(v), norms(v)


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("name", ["ewn", "swn"])
def test_a_step_on_the_weights_is_one_on_scale_and_direction(name, renormalise):
    lr = 0.05
    line = f"constrain {name}(renormalise = {str(renormalise).lower()}) where ndim >= 2"
    run = Run(stages("...", line, step=f"tune step {lr}"), [MATRIX, BIAS])
    bias = BIAS
    for g in GRADIENTS:
        run.step(g)
        bias = bias - lr * g[1]
    weights, radius = reparametrised(name == "ewn", lr, renormalise)
    np.testing.assert_allclose(run.weights[0], weights, rtol=1e-12)
    np.testing.assert_allclose(run.slot("radius")[0][0], radius, rtol=1e-12)
    np.testing.assert_allclose(run.weights[1], bias, rtol=1e-12)


def test_the_direction_never_shrinks():
    """|v|^2 grows by lr^2 |dv|^2, dv = |w| / |v| P g."""
    run = Run("ewn", [MATRIX], lr=0.1)
    heading = MATRIX / norms(MATRIX)
    g = GRADIENTS[0][0]
    turn = norms(MATRIX) * (g - (heading * g).sum(axis=0) * heading)
    run.step([g])
    np.testing.assert_allclose(run.slot("radius")[0][0] ** 2, 1 + 0.01 * norms(turn) ** 2)


def test_a_unit_of_twice_the_length_takes_four_times_the_step():
    """EWN at |v| = 1 is gradient descent with the rate |w|^2; SWN only where it turns."""
    lr, (g, _) = 1e-6, GRADIENTS[0]
    heading = MATRIX / norms(MATRIX)
    radial = (heading * g).sum(axis=0) * heading
    for name, factors in (("ewn", (1, 1)), ("swn", (0, 1))):
        for scale in (1.0, 2.0):
            (moved,) = (w for w in Run(name, [scale * heading], lr=lr).step([g]).weights)
            expected = scale ** (2 * factors[0]) * radial + scale ** (2 * factors[1]) * (g - radial)
            # The second order is lr |w|^3 |g|^2, some 40 for these.
            np.testing.assert_allclose((scale * heading - moved) / lr, expected, atol=100 * lr)


def test_a_unit_of_zero_length_stays():
    for name in ("ewn", "swn"):
        weights = MATRIX * [1, 0, 1]
        run = Run(name, [weights])
        for g in GRADIENTS:
            run.step([g[0]])
        np.testing.assert_array_equal(run.weights[0][:, 1], 0)
        assert np.isfinite(run.weights[0]).all()


# ---- speed-limited


def test_every_tensor_moves_by_its_speed_along_its_gradient():
    run = Run("speed_limited", [MATRIX, BIAS], lr=0.1, speed=3.0)
    before = run.weights
    run.step(GRADIENTS[0])
    for w, new, g in zip(before, run.weights, GRADIENTS[0], strict=True):
        step = w - new
        np.testing.assert_allclose(np.linalg.norm(step), 0.3, rtol=1e-7)
        cosine = np.sum(step * g) / np.linalg.norm(step) / np.linalg.norm(g)
        np.testing.assert_allclose(cosine, 1, rtol=1e-14)


def test_layers_have_speeds_of_their_own_and_zero_freezes():
    text = """
    optimizer two(lr = 0.1) {
      group first where path matches "first" { precondition speed_limit(500.0) }
      group rest { precondition speed_limit(0.0) }
      tune step lr
    }
    """
    run = Run(text, [MATRIX, BIAS], ["first", "second"])
    run.step(GRADIENTS[0])
    np.testing.assert_allclose(np.linalg.norm(run.weights[0] - MATRIX), 50, rtol=1e-7)
    np.testing.assert_array_equal(run.weights[1], BIAS)


@pytest.mark.parametrize("name", ["speed_limited", "sign_sgd", "normalized_sgd", "nero", "eg_adam"])
def test_the_scale_of_the_loss_does_not_matter(name):
    # Each is exact but for eps, which is at most 1e-6 of these gradients.
    small, large = (Run(name, [MATRIX, BIAS]) for _ in range(2))
    for g in GRADIENTS:
        small.step(g)
        large.step([1000 * x for x in g])
    for x, y in zip(small.weights, large.weights, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)


# ---- majority vote


def votes(gradients, **settings):
    run = Run("sign_sgd_vote", [np.zeros(4)], workers=len(gradients), lr=0.5, **settings)
    applied = [run.step([g]).applied for g in gradients]
    assert applied == [False] * (len(gradients) - 1) + [True]
    return -run.weights[0] / 0.5


VOTES = [
    *(np.array([1.0, -3.0, 0.2, -1.0]), np.array([7.0, 2.0, -0.1, -2.0])),
    np.array([-1.0, 0.1, 100.0, -3.0]),
]


def test_the_step_is_what_the_majority_wants():
    np.testing.assert_array_equal(votes(VOTES), [1, 1, 1, -1])
    np.testing.assert_array_equal(votes(VOTES[::-1]), [1, 1, 1, -1])
    # The mean of the signs is another thing, and so is the sign of the mean.
    assert np.mean([np.sign(v[0]) for v in VOTES]) == pytest.approx(1 / 3)
    assert np.sign(np.mean([v[1] for v in VOTES])) == -1


def test_the_length_of_a_worker_s_gradient_does_not_matter():
    np.testing.assert_array_equal(votes([1000 * VOTES[0], *VOTES[1:]]), votes(VOTES))


def test_one_worker_is_sign_descent_and_a_minority_cannot_outvote():
    np.testing.assert_array_equal(votes(VOTES[:1]), np.sign(VOTES[0]))
    honest = [VOTES[0]] * 4
    np.testing.assert_array_equal(votes([*honest, *[-v for v in honest[:3]]]), np.sign(VOTES[0]))


def test_a_tie_moves_nothing_or_counts_as_positive():
    tie = [np.array([1.0, 1.0, -1.0, 0.0]), np.array([-1.0, 1.0, -1.0, 0.0])]
    np.testing.assert_array_equal(votes(tie), [0, 1, -1, 0])
    (found,) = signal("precondition sign_of_votes()", [tie[0] + tie[1]], [np.zeros(4)])
    np.testing.assert_array_equal(found, [1, 1, -1, 1])


def test_with_gaussian_noise_votes_err_as_the_binomial_says():
    """P[wrong] = P[Binomial(K, q) > K / 2] with q = Phi(-S): for S = 1/2, K = 5."""
    noise = np.random.default_rng(0).normal(size=(5, 40_000)) + 0.5
    run = Run("sign_sgd_vote", [np.zeros(40_000)], workers=5, lr=1.0)
    for g in noise:
        run.step([g])
    wrong = np.mean(run.weights[0] > 0)
    q = 0.308538
    expected = sum(c * q**k * (1 - q) ** (5 - k) for k, c in ((3, 10), (4, 5), (5, 1)))
    # Three standard deviations of a share over 40,000.
    assert abs(wrong - expected) < 3 * np.sqrt(expected * (1 - expected) / 40_000)


def test_error_feedback_loses_nothing():
    """What was sent and what is kept add up to all gradients."""
    run = Run("ef_sign_sgd", [MATRIX], lr=1.0)
    for g, _ in GRADIENTS:
        run.step([g])
    kept = run.slot("residual")[0]
    total = sum(g for g, _ in GRADIENTS)
    np.testing.assert_allclose(MATRIX - run.weights[0] + kept, total, rtol=1e-12)


def test_plain_signs_climb_where_error_feedback_descends():
    """The counterexample of arXiv:1901.09847: the gradients of two examples, one of them larger.

    With g = 4 and -1 in three of four the signs go up on average, the gradients down.
    """
    gradients = [4.0, -1.0, -1.0, -1.0]
    plain, fed = Run("sign_sgd", [0.0], lr=0.1), Run("ef_sign_sgd", [0.0], lr=0.1)
    for _ in range(25):
        for g in gradients:
            plain.step([g])
            fed.step([g])
    assert plain.weights[0] == pytest.approx(0.1 * 25 * 2)
    assert fed.weights[0] == pytest.approx(-0.1 * 25 * 1)


# ---- quantisation


def decision(w, bits):
    """How far each weight is from a threshold between two levels, as shares of a level."""
    levels = 2 ** (bits - 1)
    scale = 2 * np.abs(w).mean(axis=0)
    level = np.clip(w / scale, -1, 1 - 1e-6) * levels - 0.5
    return np.abs(level - np.floor(level) - 0.5)


@pytest.mark.parametrize(("bits", "band"), [(2, 0.1), (4, 0.2)])
def test_sure_weights_stay_to_the_bit_and_others_move_as_without(bits, band):
    run = Run("cga_sgd", [MATRIX, BIAS], bits=bits, band=band, decay=0.1, lr=0.01)
    run.step(GRADIENTS[0])
    sure = decision(MATRIX, bits) > band
    assert sure.any()
    assert (~sure).any()
    np.testing.assert_array_equal(run.weights[0][sure], MATRIX[sure])
    step = 0.01 * (GRADIENTS[0][0] + 0.1 * MATRIX)
    np.testing.assert_allclose(run.weights[0][~sure], (MATRIX - step)[~sure], rtol=1e-14)
    for g in GRADIENTS[1:]:
        before = run.weights[0]
        run.step(g)
        sure = decision(before, bits) > band
        np.testing.assert_array_equal(run.weights[0][sure], before[sure])


def test_a_band_of_half_a_level_is_the_plain_optimizer():
    plain = Run("sgdw", [MATRIX, BIAS], lr=0.01)
    run = Run("cga_sgd", [MATRIX, BIAS], band=0.5, lr=0.01)
    for g in GRADIENTS:
        run.step(g)
        plain.step(g)
    for x, y in zip(run.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_weight_that_flips_each_step_freezes_after_as_many_as_its_frequency_needs():
    """f = 1 - (1 - m)^k: for m = 0.01 and a threshold of 0.1 it is above it at k = 11."""
    line = "constrain freeze_oscillating(scale = 1.0, momentum = 0.01, threshold = 0.1)"
    run = Run(stages("...", line), [np.array([0.4, 0.1])])
    frozen = []
    for t in range(1, 20):
        # The first weight goes between 0.4 and 0.6, across 0.5; the second drifts up.
        run.step([np.array([-0.2 if t % 2 else 0.2, -0.05])])
        frozen.append(run.slot("frozen")[0][0])
    # The first change of level has no direction before it, and is no flip.
    assert frozen.index(1) == 11
    assert frozen[11:] == [1] * 8
    assert run.weights[0][0] in (0.0, 1.0)
    np.testing.assert_allclose(run.weights[0][1], 0.1 + 19 * 0.05, rtol=1e-12)


# ---- Nero, and averaged gradient descent


def test_nero_is_its_released_code():
    """For each unit g over the root of the debiased mean square, then centre and normalise."""
    run = Run("nero", [MATRIX, BIAS, np.zeros(2)], lr=0.05, beta=0.9)
    w, b, zero = MATRIX, BIAS, np.zeros(2)
    v = v_b = v_z = 0.0
    for t, (g, g_b) in enumerate(GRADIENTS, 1):
        g_z = np.array([0.0, g_b[0]])
        run.step([g, g_b, g_z])
        v = 0.9 * v + 0.1 * norms(g) ** 2
        v_b = 0.9 * v_b + 0.1 * g_b**2
        v_z = 0.9 * v_z + 0.1 * g_z**2
        debias = 1 - 0.9**t
        w = w - 0.05 * g / np.sqrt(v / debias)
        w = w - w.mean(axis=0)
        w = w / norms(w)
        b = b - 0.05 * np.abs(BIAS).mean() * g_b / np.sqrt(v_b / debias)
        zero = zero - 0.05 * 0.01 * np.array([0.0, g_z[1] / np.sqrt(v_z[1] / debias)])
    for found, expected in zip(run.weights, (w, b, zero), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_asgd_is_that_of_torch():
    """The loop of torch.optim.asgd: the rate and the share of the average for the next step."""
    lr, lambd, alpha, t0, decay = 0.1, 0.03, 0.75, 3.0, 0.02
    run = Run("asgd", [MATRIX], lr=lr, lambd=lambd, alpha=alpha, t0=t0, decay=decay)
    w, average, eta, mu = MATRIX, np.zeros_like(MATRIX), lr, 1.0
    for step, (g, _) in enumerate(GRADIENTS, 1):
        w = w * (1 - lambd * eta) - eta * (g + decay * w)
        average = w if mu == 1 else average + (w - average) * mu
        eta = lr / (1 + lambd * lr * step) ** alpha
        mu = 1 / max(1, step - t0)
        run.step([g])
        np.testing.assert_allclose(run.weights[0], w, rtol=1e-13)
        np.testing.assert_allclose(run.evaluate()[0], average, rtol=1e-12)


def test_one_cycle_moves_the_momentum_against_the_rate():
    """As torch's OneCycleLR: from high to low and back, by half cosines."""
    run = Run("onecycle_sgd", [0.0], total=100, decay=0.0, lr=0.1)
    seen = {}
    for t in range(1, 102):
        before = run.slot("trace")[0]
        run.step([1.0])
        if before:
            seen[t] = (run.slot("trace")[0] - 1) / before
    np.testing.assert_allclose([seen[31], seen[101]], [0.85, 0.95], rtol=1e-12)
    np.testing.assert_allclose([seen[16], seen[66]], [0.9, 0.9], rtol=1e-12)
    assert seen[2] == pytest.approx(0.95, abs=1e-3)
