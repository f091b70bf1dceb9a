"""Clips, decays and averages against closed forms, through the interpreter in float64."""

import numpy as np
import pytest
from interpreted import Run, signal, stages

ROUNDING = 1e-14
"""A few dozen roundings of 2^-53."""

RNG = np.random.default_rng(4)
WEIGHTS = [RNG.normal(size=(3, 4)), RNG.normal(size=(5,)), np.array(1.5)]
GRADIENT = [3 * RNG.normal(size=(3, 4)), RNG.normal(size=(5,)), np.array(-0.25)]


def flat(field):
    return np.concatenate([np.ravel(x) for x in field])


def norm(field):
    return float(np.linalg.norm(flat(field)))


def clipped(stage, gradient=GRADIENT, weights=None):
    """What a stage makes of a gradient; at weights of zero the step is the signal exactly."""
    weights = [np.zeros_like(g) for g in gradient] if weights is None else weights
    return signal(stage, gradient, weights)


def assert_same(found, expected, rtol=ROUNDING):
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=ROUNDING)


# ---- clips


@pytest.mark.parametrize("limit", [0.5, 5.0, 1e3])
def test_a_clipped_gradient_has_the_length_of_the_limit_and_its_direction(limit):
    found = clipped(f"clip global_norm({limit})")
    np.testing.assert_allclose(norm(found), min(norm(GRADIENT), limit), rtol=ROUNDING)
    cosine = flat(found) @ flat(GRADIENT) / norm(found) / norm(GRADIENT)
    np.testing.assert_allclose(cosine, 1, rtol=ROUNDING)
    assert_same(clipped(f"clip global_norm({limit})", found), found)


def test_torch_s_clip_scales_a_little_too_much():
    found = clipped("clip global_norm_torch(0.5)")
    scale = 0.5 / (norm(GRADIENT) + 1e-6)
    assert_same(found, [scale * g for g in GRADIENT])


def test_clipping_each_tensor_is_clipping_it_alone():
    found = clipped("clip per_tensor(1.2)")
    alone = [clipped("clip global_norm(1.2)", [g])[0] for g in GRADIENT]
    assert_same(found, alone)
    assert np.abs(flat(found) - flat(clipped("clip global_norm(1.2)"))).max() > 0.1


def test_adaptive_clipping_leaves_what_is_short_alone_bit_by_bit():
    weights = [np.diag([1.0, 2.0, 0.0])]
    gradient = [np.array([[0.5, 0.1, 0.2], [0.5, 0.1, 0.2], [0.5, 0.1, 0.2]])]
    (found,) = clipped("clip adaptive(0.1, eps = 0.5)", gradient, weights)
    (start,) = weights
    lengths = np.linalg.norm(found, axis=0)
    limits = 0.1 * np.maximum(np.linalg.norm(start, axis=0), 0.5)
    np.testing.assert_allclose(lengths[[0, 2]], limits[[0, 2]], rtol=1e-14)
    # 0.17 < 0.2: the second unit. Its step is a difference of weights, so exact only at 0.
    np.testing.assert_allclose(found[:, 1], gradient[0][:, 1], rtol=1e-14)


def test_block_rms_limits_the_mean_square():
    found = clipped("clip block_rms(0.3)")
    for x, g in zip(found, GRADIENT, strict=True):
        before, after = (np.sqrt(np.mean(np.square(a))) for a in (g, x))
        np.testing.assert_allclose(after, min(before, 0.3), rtol=ROUNDING)


def test_only_nan_becomes_zero():
    gradient = [np.array([np.nan, np.inf, -np.inf, 2.0, 0.0])]
    (found,) = clipped("clip zero_nans()", gradient)
    np.testing.assert_array_equal(found, [0, np.inf, -np.inf, 2, 0])


@pytest.mark.parametrize(
    "stage",
    [
        *("clip global_norm()", "clip global_norm_torch()", "clip per_tensor()", "clip adaptive()"),
        *("clip block_rms()", "precondition normalize()", "precondition speed_limit()"),
        *("precondition scaled_sign()", "precondition error_feedback_sign()"),
        *("precondition zero()", "precondition nero()"),
    ],
)
def test_a_zero_gradient_stays_zero(stage):
    found = clipped(stage, [np.zeros((2, 3)), np.zeros(4), np.zeros(())])
    np.testing.assert_array_equal(flat(found), 0)


def test_nothing_moves_what_is_frozen():
    gradient = [np.array([np.nan, np.inf, 1.0])]
    np.testing.assert_array_equal(clipped("precondition zero()", gradient)[0], 0)


# ---- decays: the taxonomy of where a decay enters, from a gradient of zero or a known step


LR, RATE = 0.1, 0.3


def decayed(*lines, steps=5, gradient=None, **values):
    """The weights after some steps with a constant gradient, as shares of those at the start."""
    run = Run(stages(*lines, step=f"tune step {LR}"), WEIGHTS)
    for _ in range(steps):
        run.step([np.zeros_like(w) for w in WEIGHTS] if gradient is None else gradient)
    return run.weights


DECAYS = {
    # what a decay alone makes of a weight in t steps
    "decoupled": ((f"decay weights({RATE})", "..."), lambda t: (1 - LR * RATE) ** t),
    "independent": (("...", f"decay weights({RATE})"), lambda t: (1 - RATE) ** t),
    "after the step": (("...", f"constrain shrink({RATE})"), lambda t: (1 - LR * RATE) ** t),
    "proximal": (("...", f"constrain proximal_decay({RATE})"), lambda t: (1 + LR * RATE) ** -t),
    "elastic": (("...", f"constrain soft_threshold(0, {RATE})"), lambda t: (1 + LR * RATE) ** -t),
    "exponentiated": (
        (f"decay l1({RATE})", "...", "constrain exponentiated()"),
        lambda t: np.exp(-LR * RATE * t),
    ),
}


@pytest.mark.parametrize("name", DECAYS)
def test_a_decay_alone_shrinks_by_its_factor(name):
    lines, factor = DECAYS[name]
    assert_same(decayed(*lines, steps=7), [factor(7) * w for w in WEIGHTS])


def test_a_decay_after_the_step_differs_by_the_rate_squared():
    """(1 - lr r)(w - lr u) and (1 - lr r) w - lr u differ by lr^2 r u."""
    before = decayed(f"decay weights({RATE})", "...", steps=1, gradient=GRADIENT)
    after = decayed("...", f"constrain shrink({RATE})", steps=1, gradient=GRADIENT)
    difference = [LR**2 * RATE * g for g in GRADIENT]
    assert_same([a - b for a, b in zip(after, before, strict=True)], difference, rtol=1e-12)


def test_coupled_and_decoupled_decay_are_one_without_momentum_and_two_with():
    coupled = (f"decay weights({RATE})", "precondition momentum(0.9)", "...")
    decoupled = ("precondition momentum(0.9)", f"decay weights({RATE})", "...")
    assert_same(decayed(*coupled, steps=1), decayed(*decoupled, steps=1))
    assert np.abs(flat(decayed(*coupled)) - flat(decayed(*decoupled))).max() > 1e-3


def test_a_cautious_decay_acts_where_the_step_shrinks():
    weights = [np.array([1.0, 1.0, -1.0, -1.0, 2.0, 0.0])]
    gradient = [np.array([0.5, -0.5, 0.5, -0.5, 0.0, 1.0])]
    (found,) = clipped("decay cautious(0.25)", gradient, weights)
    np.testing.assert_allclose(found, [0.75, -0.5, 0.5, -0.75, 0.5, 1.0], rtol=ROUNDING)


def test_a_threshold_makes_zeros_and_moves_the_rest_alike():
    """Proximal of l1 |w|: the minimum of |w - x|^2 / 2 + l1 |w|, found on a grid."""
    x = np.array([0.7, -0.05, 0.1, -0.4, 0.0])
    run = Run(stages("...", "constrain soft_threshold(1.0, 2.0)", step="tune step 0.1"), [x])
    run.step([np.zeros(5)])
    grid = np.linspace(-1, 1, 200_001)[:, None]
    best = grid[np.argmin((grid - x) ** 2 / 2 + 0.1 * (np.abs(grid) + grid**2), axis=0), 0]
    np.testing.assert_allclose(run.weights[0], best, atol=1e-5)
    assert run.weights[0][1] == 0


# ---- averages


def averaged(average, steps=12):
    """The weights after each step of a walk, and what is evaluated after each."""
    run = Run(stages("...", f"average {average}"), [np.array([1.0, -2.0])])
    rng = np.random.default_rng(6)
    trained, found = [run.weights[0]], []
    for _ in range(steps):
        run.step([rng.normal(size=2)])
        trained.append(run.weights[0])
        found.append(run.evaluate()[0])
    return np.array(trained), np.array(found)


def test_averages_do_not_change_the_training():
    plain, _ = averaged("ema()")
    for other in ("ema_warmup()", "ema_from_start()", "ema_power()", "polyak()", "swa(3, 2)"):
        np.testing.assert_array_equal(averaged(other)[0], plain)


def test_the_debiased_average_is_that_of_optax():
    """optax.ema of the weights: sum of (1 - d) d^(t - i) w_i, over 1 - d^t."""
    trained, found = averaged("ema(0.8)")
    for t in range(1, 13):
        shares = 0.2 * 0.8 ** np.arange(t - 1, -1, -1.0)
        expected = shares @ trained[1 : t + 1] / (1 - 0.8**t)
        np.testing.assert_allclose(found[t - 1], expected, rtol=1e-13)


def test_the_average_from_the_start_remembers_it():
    trained, found = averaged("ema_from_start(0.8)")
    shares = 0.2 * 0.8 ** np.arange(11, -1, -1.0)
    expected = 0.8**12 * trained[0] + shares @ trained[1:]
    np.testing.assert_allclose(found[-1], expected, rtol=1e-13)


def test_the_warmed_up_average_is_its_recursion():
    trained, found = averaged("ema_warmup(0.5)")
    expected = trained[0]
    for t in range(1, 13):
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * trained[t]
        np.testing.assert_allclose(found[t - 1], expected, rtol=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 6.94])
def test_a_power_average_weighs_by_a_power(gamma):
    """The share of step i is ((i/t)^(gamma+1) - ((i-1)/t)^(gamma+1)): the decays telescope."""
    trained, found = averaged(f"ema_power({gamma})")
    shares = np.diff((np.arange(13) / 12) ** (gamma + 1))
    np.testing.assert_allclose(found[-1], shares @ trained[1:], rtol=1e-13)


@pytest.mark.parametrize("start", [1, 4, 20])
def test_polyak_is_the_plain_mean_of_a_suffix(start):
    trained, found = averaged(f"polyak({start})")
    for t in range(1, 13):
        expected = trained[min(start, t) : t + 1].mean(axis=0)
        np.testing.assert_allclose(found[t - 1], expected, rtol=1e-13)


def test_swa_is_the_mean_of_every_so_many():
    trained, found = averaged("swa(start = 4, every_steps = 3)")
    for t in range(1, 13):
        taken = [i for i in range(4, t + 1) if (i - 4) % 3 == 0]
        expected = trained[taken].mean(axis=0) if taken else trained[t]
        np.testing.assert_allclose(found[t - 1], expected, rtol=1e-13)


# ---- guards


def test_a_step_is_skipped_where_the_gradient_is_long():
    run = Run(stages("...", "guard norm_below(2.0)"), [np.zeros(2)])
    sizes = [1.0, 2.0, np.nan, 1.5]
    assert [run.step([np.array([size, 0.0])]).applied for size in sizes] == [1, 0, 0, 1]
    np.testing.assert_array_equal(run.weights[0], [-2.5, 0])
