"""Methods that find their own rate, and methods around others: closed forms and special values.

By the reference interpreter in float64 on gradients and losses that are given. `CLOSE` is some
hundred roundings of 2^-53. What optax has too is held to it in the parity suite.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from interpreted import Run, flat, stages

pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|divide by zero)")

CLOSE = 1e-12
STEPS = 12
RNG = np.random.default_rng(12)
WEIGHTS = [RNG.normal(size=(3, 2)), RNG.normal(size=4)]
GRADIENTS = [[RNG.normal(size=(3, 2)), RNG.normal(size=4)] for _ in range(STEPS)]
ZERO = [np.zeros_like(w) for w in WEIGHTS]


START = flat(WEIGHTS)
SLOPES = [flat(g) for g in GRADIENTS]


def walk(spec, weights=WEIGHTS, gradients=GRADIENTS, losses=(), **values):
    """All weights in one row: before the first step, and after each."""
    run = Run(spec, weights, **values)
    rows = [flat(run.weights)]
    for step, gradient in enumerate(gradients):
        run.step(gradient, losses[step] if len(losses) else 0.0)
        rows.append(flat(run.weights))
    return np.stack(rows)


def slots(spec, name, gradients=GRADIENTS, **values):
    """A scalar state after each step."""
    run = Run(spec, WEIGHTS, **values)
    found = []
    for gradient in gradients:
        run.step(gradient)
        found.append(float(run.slot(name)))
    return np.array(found)


def close(found, expected, tolerance=CLOSE):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# ---- distances


def test_prodigy_with_a_frozen_estimate_is_adam_without_its_debiasing():
    found = walk("prodigy_plain", lr=0.1, b2=0.9, initial=1.0, coefficient=0, decay=0.2)
    w, m, v = START, 0, 0
    for g, row in zip(SLOPES, found[1:], strict=True):
        m, v = 0.9 * m + 0.1 * g, 0.9 * v + 0.1 * g**2
        w = w - 0.1 * (m / (np.sqrt(v) + 1e-8) + 0.2 * w)
        close(row, w)


@pytest.mark.parametrize("name", ["prodigy", "prodigy_plain", "dadapt_adamw"])
def test_an_estimate_never_decreases_and_grows_along_a_slope(name):
    steep = [GRADIENTS[0]] * 80
    for gradients in (GRADIENTS, steep):
        estimates = slots(name, "estim_lr", gradients)
        assert (np.diff(estimates) >= 0).all()
        assert estimates[0] == 1e-6
    assert estimates[-1] > 1e-5


@pytest.mark.parametrize("name", ["prodigy", "prodigy_plain", "dadapt_adamw", "cocob", "dog"])
def test_a_first_gradient_of_zero_does_no_harm(name):
    found = walk(name, gradients=[ZERO, *GRADIENTS])
    close(found[1], START)
    assert np.isfinite(found).all()
    assert (found[2] != START).any()


def length(x):
    return float(np.linalg.norm(x))


def test_the_first_steps_of_distances_over_gradients():
    g = GRADIENTS[:1]
    first = {
        "dog": 1e-6 * (1 + length(START)),
        "dog_distance": 0.01,
        "dowg": 0.01,
    }
    for name, distance in first.items():
        values = {"initial": 1e-4} if name == "dowg" else {}
        found = walk(name, gradients=g, eps=0, **values)
        close(found[1], START - distance * SLOPES[0] / length(SLOPES[0]))
    close(walk("dog_first_step", gradients=g, initial=0.3)[1], START - 0.3 * SLOPES[0])


@pytest.mark.parametrize("name", ["dog", "dowg", "ldog"])
def test_distances_over_gradients_do_not_see_the_scale_of_the_loss(name):
    larger = [[1e3 * x for x in g] for g in GRADIENTS]
    close(walk(name, gradients=larger, eps=0), walk(name, eps=0))


def test_dog_of_one_tensor_is_ldog():
    one = [[g[0]] for g in GRADIENTS]
    close(walk("ldog", WEIGHTS[:1], one), walk("dog", WEIGHTS[:1], one))


def test_dog_takes_the_farthest_distance():
    """By hand: eta_t = max |w_i - w_0| / root of the sum of |g_i|^2."""
    w, farthest, total = START, 0.5, 0.0
    for g, row in zip(SLOPES, walk("dog_distance", initial=0.5, eps=0)[1:], strict=True):
        farthest, total = max(farthest, length(w - START)), total + g @ g
        w = w - farthest / np.sqrt(total) * g
        close(row, w)


# ---- bets


def test_the_first_bet_of_cocob_is_one_over_alpha_whatever_the_gradient():
    found = walk("cocob", gradients=GRADIENTS[:1], alpha=50)
    close(START - found[1], np.sign(SLOPES[0]) / 50)


def test_cocob_does_not_see_the_scale_of_a_gradient():
    larger = [[1e3 * x for x in g] for g in GRADIENTS]
    close(walk("cocob", gradients=larger), walk("cocob"), 1e-9)


def test_cocob_bets_less_than_its_wealth():
    """|w - w_0| <= (L + R) / L, since |C| <= G."""
    run = Run("cocob", WEIGHTS, alpha=1)
    for gradient in GRADIENTS:
        run.step(gradient)
        scale, reward = flat(run.slot("scale")), flat(run.slot("reward"))
        assert (np.abs(flat(run.weights) - START) <= (scale + reward) / scale).all()


def test_mechanic_starts_with_its_first_scale_and_sums_the_steps():
    """w = x0 - s (sum of steps): without `eps` exactly."""
    run = Run("mechanic_sgd", WEIGHTS, lr=0.5, eps=1e-30, initial=0.01)
    total = 0
    for step, (gradient, g) in enumerate(zip(GRADIENTS, SLOPES, strict=True)):
        run.step(gradient)
        total = total + 0.5 * g
        # The state of the rule, then those of the betters.
        scale = float(run.slot("s"))
        if step == 0:
            assert scale == pytest.approx(0.01)
        close(flat(run.weights), START - scale * total, 1e-9)


# ---- models of the loss


LOSSES = np.abs(RNG.normal(size=STEPS))


def test_momo_without_momentum_is_polyak_s_step():
    found = walk("momo", losses=LOSSES, beta=0, lr=0.3, lower_bound=0.1)
    # Where a loss is below its bound, both stay.
    expected = walk("polyak_sgd_plus", losses=LOSSES, max_step=0.3, f_min=0.1)
    close(found, expected)


def test_momo_adam_at_its_bound_is_adam():
    high = np.full(STEPS, 1e6)
    close(walk("momo_adam", losses=high), walk("adamw", lr=0.01, decay=0))


def test_momo_decays_proximally():
    found = walk("momo", gradients=[ZERO] * 3, lr=0.5, decay=0.2)
    close(found[-1], START / 1.1**3)


def test_polyak_climbs_below_its_least_loss_and_the_plus_variant_stays():
    values = {"gradients": GRADIENTS[:1], "losses": [0.0], "f_min": 1.0}
    close(walk("polyak_sgd_plus", **values)[1], START)
    close(walk("polyak_sgd", **values)[1], START + SLOPES[0] / (SLOPES[0] @ SLOPES[0]))


def test_a_plateau_lowers_the_rate_after_its_patience():
    run = Run("adam_on_plateau", WEIGHTS, lr=1.0, factor=0.5, patience=3, cooldown=2)
    etas = [run.step(g, 1.0).observed["step_size"] for g in GRADIENTS]
    # The first loss is the best one; three are no better, two are not counted, three more.
    assert etas == [1] * 3 + [0.5] * 5 + [0.25] * 4


# ---- around other optimizers


def test_lookahead_goes_back_part_of_the_way():
    """On a constant slope k steps of d lead to k d, and the slow weights to a share of it."""
    run = Run("lookahead_sgd", WEIGHTS, lr=0.1, momentum=0, slow_step_size=0.4, sync_period=3)
    for t in range(1, 8):
        run.step(GRADIENTS[0])
        rounds, rest = divmod(t, 3)
        slow = START - 0.1 * 3 * 0.4 * rounds * SLOPES[0]
        close(flat(run.weights), slow - 0.1 * rest * SLOPES[0])
        close(flat(run.evaluate()), slow)


def test_lookahead_that_goes_all_the_way_is_its_base():
    found = walk("lookahead_adam", slow_step_size=1.0, decay=0.1)
    close(found, walk("adamw", decay=0.1))


def test_lookahead_is_that_of_optax():
    with jax.enable_x64(True):
        tx = optax.lookahead(optax.sgd(0.1, momentum=0.8), sync_period=3, slow_step_size=0.4)
        params = optax.LookaheadParams.init_synced([jnp.asarray(w) for w in WEIGHTS])
        state = tx.init(params)
        values = {"lr": 0.1, "momentum": 0.8, "slow_step_size": 0.4, "sync_period": 3}
        run = Run("lookahead_sgd", WEIGHTS, **values)
        for gradient in GRADIENTS[:7]:
            run.step(gradient)
            changes, state = tx.update([jnp.asarray(g) for g in gradient], state, params)
            params = optax.apply_updates(params, changes)
            close(flat(run.weights), flat(params.fast))
            close(flat(run.evaluate()), flat(params.slow))


def averaged(beta, rates, power):
    """The three sequences of schedule-free descent, all kept: the rows of y and of x."""
    z = x = y = START
    weight, most, ys, xs = 0.0, 0.0, [], []
    for g, rate in zip(SLOPES, rates, strict=True):
        most = max(most, rate)
        weight += most**power
        z = z - rate * g
        c = most**power / weight if weight else 0.0
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x
        ys.append(y)
        xs.append(x)
    return np.stack(ys), np.stack(xs)


@pytest.mark.parametrize("beta", [0.3, 0.9, 1.0])
def test_schedule_free_is_its_three_sequences_through_a_warm_up(beta):
    rates = 0.5 * np.minimum(np.arange(1, STEPS + 1) / 4, 1)
    ys, xs = averaged(beta, rates, 2)
    run = Run("schedule_free_sgd_warmup", WEIGHTS, lr=0.5, b1=beta, warmup=4)
    for gradient, y, x in zip(GRADIENTS, ys, xs, strict=True):
        run.step(gradient)
        close(flat(run.weights), y)
        close(flat(run.evaluate()), x)


@pytest.mark.parametrize("name", ["schedule_free", "schedule_free_stored"])
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_with_a_constant_rate_x_is_the_mean_of_all_z_and_beta_1_trains_on_it(name, beta):
    run = Run(stages("tune step 0.5", f"average {name}({beta})"), WEIGHTS)
    base = START - 0.5 * np.cumsum(SLOPES, axis=0)
    for t, gradient in enumerate(GRADIENTS, 1):
        run.step(gradient)
        mean = base[:t].mean(axis=0)
        close(flat(run.evaluate()), mean)
        close(flat(run.weights), beta * mean + (1 - beta) * base[t - 1])


def test_beta_0_is_gradient_descent_with_the_average_of_polyak_and_ruppert():
    run = Run(stages("tune step 0.5", "average schedule_free_stored(0)"), WEIGHTS)
    base = START - 0.5 * np.cumsum(SLOPES, axis=0)
    for t, gradient in enumerate(GRADIENTS, 1):
        run.step(gradient)
        close(flat(run.weights), base[t - 1])
        close(flat(run.evaluate()), base[:t].mean(axis=0))


def test_schedule_free_is_the_form_in_place_of_its_authors():
    """y <- lerp(y, z, c) + lr (beta (1 - c) - 1) u, and z <- z - lr u."""
    found = walk("schedule_free_sgd", lr=0.5, b1=0.8, decay=0.1)
    y = z = START
    for t, (g, row) in enumerate(zip(SLOPES, found[1:], strict=True), 1):
        u, c = g + 0.1 * y, 1 / t
        y = y + c * (z - y) + 0.5 * (0.8 * (1 - c) - 1) * u
        z = z - 0.5 * u
        close(row, y)


def test_a_first_rate_of_zero_leaves_the_average_where_it_is():
    run = Run(stages("tune step where(t == 1, 0, 0.5)", "average schedule_free(0.5)"), WEIGHTS)
    run.step(GRADIENTS[0])
    close(flat(run.weights), START)
    run.step(GRADIENTS[1])
    close(flat(run.evaluate()), START - 0.5 * SLOPES[1])
