"""Methods that see a tensor as a whole: identities of trust ratios and of factored moments.

By the reference interpreter in float64 on gradients that are given, and for what optax cannot be
asked in the parity suite by optax itself. `CLOSE` is some hundred roundings of 2^-53.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from interpreted import Run, stages, trace

pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|divide by zero)")

CLOSE = 1e-13
STEPS = 12
RNG = np.random.default_rng(11)
WEIGHTS = [RNG.normal(size=(3, 4)), RNG.normal(size=5)]
GRADIENTS = [[RNG.normal(size=(3, 4)), RNG.normal(size=5)] for _ in range(STEPS)]


def walk(spec, weights=WEIGHTS, gradients=GRADIENTS, **values):
    """The weights before the first step and after each."""
    return trace(spec, gradients, weights, **values)


def moved(spec, weights=WEIGHTS, gradients=GRADIENTS, **values):
    """What each step takes from each tensor: a list of tensors for each step."""
    visited = walk(spec, weights, gradients, **values)
    pairs = pairwise(visited)
    return [[a - b for a, b in zip(old, new, strict=True)] for old, new in pairs]


def assert_same(found, expected, tolerance=CLOSE):
    for a, b in zip(found, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


# ---- trust ratios


@pytest.mark.parametrize("name", ["lamb", "lamb_clamped"])
def test_lamb_moves_each_tensor_by_the_rate_times_its_length(name):
    visited = walk(name, lr=0.1)
    for old, new in pairwise(visited):
        for a, b in zip(old, new, strict=True):
            np.testing.assert_allclose(np.linalg.norm(a - b), 0.1 * np.linalg.norm(a), rtol=CLOSE)


def test_lamb_with_clamped_lengths_moves_by_the_clamp():
    (step,) = moved("lamb_clamped", gradients=GRADIENTS[:1], lr=0.1, high=0.25)
    np.testing.assert_allclose([np.linalg.norm(x) for x in step], 0.1 * 0.25, rtol=CLOSE)


def test_lamb_without_a_clamp_is_lamb():
    assert_same(walk("lamb_clamped", high=np.inf, decay=0.1), walk("lamb", decay=0.1))


@pytest.mark.parametrize("name", ["lamb", "lamb_clamped"])
def test_weights_that_start_at_zero_take_a_step_of_adam(name):
    zero = [np.zeros_like(w) for w in WEIGHTS]
    first = GRADIENTS[:1]
    adam = stages("precondition adam(eps = 1e-6)", "tune step 0.001")
    assert_same(moved(name, zero, first), moved(adam, zero, first))


@pytest.mark.parametrize("name", ["lamb", "lamb_clamped", "lars", "lars_paper", "fromage"])
def test_without_a_gradient_and_without_weights_nothing_moves(name):
    zero = [np.zeros_like(w) for w in WEIGHTS]
    assert_same(walk(name, zero, [zero, zero]), [zero] * 3)


@pytest.mark.parametrize("name", ["lamb", "lars", "lars_paper"])
def test_the_relative_step_does_not_see_the_scale_of_weights_without_a_scale(name):
    """A loss of w / |w| has the gradient g / k at k w: steps are k times as long."""
    values = {"eps": 0} if name == "lamb" else {"decay": 0}
    larger = [[g / 8 for g in gradient] for gradient in GRADIENTS]
    expected = [[8 * x for x in step] for step in moved(name, **values)]
    assert_same(moved(name, [8 * w for w in WEIGHTS], larger, **values), expected, 1e-11)


def test_the_two_ratios_of_lars():
    """Of gradient and decay together, or of their lengths added: by hand, at right angles."""
    w, g = [np.array([3.0, 4.0])], [[np.array([4.0, -3.0])]]
    values = {"lr": 1.0, "decay": 1.0, "coefficient": 0.1}
    step = g[0][0] + w[0]
    (together,) = moved("lars", w, g, **values)
    np.testing.assert_allclose(together[0], 0.1 * 5 / np.sqrt(50) * step, rtol=CLOSE)
    (added,) = moved("lars_paper", w, g, **values)
    np.testing.assert_allclose(added[0], 0.1 * 5 / 10 * step, rtol=CLOSE)


def test_a_rate_of_lars_that_falls_to_zero_leaves_its_momentum():
    falling = stages(
        "tune step where(t == 1, 0.1, 0) * trust_ratio(coefficient = 0.01)",
        "precondition momentum(0.9)",
    )
    first, second, third = moved(falling, gradients=GRADIENTS[:3])
    assert_same([second, third], [[0.9 * x for x in first], [0.81 * x for x in first]], 1e-10)


def test_masked_ratios_are_those_of_optax():
    def layers(tree):
        return [x.ndim >= 2 for x in tree]

    twins = {
        "lars_masked": optax.lars(
            0.1, 0.2, weight_decay_mask=layers, trust_coefficient=0.3, trust_ratio_mask=layers
        ),
        "lamb_masked": optax.chain(
            optax.scale_by_adam(eps=1e-6),
            optax.add_decayed_weights(0.2, layers),
            optax.masked(optax.scale_by_trust_ratio(), layers),
            optax.scale_by_learning_rate(0.1),
        ),
    }
    with jax.enable_x64(True):
        for name, tx in twins.items():
            values = {"coefficient": 0.3} if name == "lars_masked" else {}
            visited = walk(name, gradients=GRADIENTS[:3], lr=0.1, decay=0.2, **values)
            state = tx.init([jnp.asarray(w) for w in WEIGHTS])
            for gradient, (old, new) in zip(GRADIENTS[:3], pairwise(visited), strict=True):
                weights = [jnp.asarray(w) for w in old]
                changes, state = tx.update([jnp.asarray(g) for g in gradient], state, weights)
                assert_same([new], [optax.apply_updates(weights, changes)])


def test_fromage_keeps_the_length_where_the_gradient_is_at_right_angles():
    w, g = np.array([3.0, 4.0]), np.array([-8.0, 6.0])
    (_, after) = walk("fromage", [w], [[g]], lr=0.3)
    np.testing.assert_allclose(np.linalg.norm(after[0]), 5, rtol=CLOSE)
    np.testing.assert_allclose(after[0] @ w / 25, 1 / np.sqrt(1 + 0.3**2), rtol=CLOSE)


# ---- factored moments


ROWS, COLS = 128, 130


def rank_one(count):
    """Gradients of one tensor whose squares are all multiples of one matrix of rank one."""
    signs = np.sign(RNG.normal(size=(count, ROWS, COLS)))
    outer = np.exp(RNG.normal(size=(ROWS, 1)) + RNG.normal(size=(1, COLS)))
    return [[np.exp(RNG.normal()) * s * outer] for s in signs]


LARGE = [RNG.normal(size=(ROWS, COLS))]


def test_factored_moments_of_rank_one_are_the_moments():
    gradients = rank_one(4)
    found = moved(stages("precondition factored_rms()", "..."), LARGE, gradients)
    v = 0
    for t, ((g,), (step,)) in enumerate(zip(gradients, found, strict=True), 1):
        decay = 1 - t**-0.8
        v = decay * v + (1 - decay) * g**2
        np.testing.assert_allclose(step, g / np.sqrt(v), rtol=1e-12, atol=1e-12)


def test_factored_moments_keep_the_means_of_rows_and_columns():
    g = RNG.normal(size=(ROWS, COLS))
    ((step,),) = moved(stages("precondition factored_rms()", "..."), LARGE, [[g]])
    # What is left of a step after w - (w - step) is 2^-53 of w: in a small one it counts.
    estimate = np.where(step == 0, 0, (g / np.where(step == 0, 1, step)) ** 2)
    for axis in (0, 1):
        np.testing.assert_allclose(estimate.mean(axis), (g**2).mean(axis), rtol=1e-9)


def test_factored_moments_are_those_of_optax():
    """Its decay in float64, which it works out in float32 otherwise."""
    with jax.enable_x64(True):
        tx = optax.scale_by_factored_rms(decay_rate_fn=lambda i, rate: 1 - (i + 1.0) ** -rate)
        tall = [RNG.normal(size=(COLS, ROWS)), RNG.normal(size=(2, 3))]
        gradients = [[RNG.normal(size=x.shape) for x in tall] for _ in range(3)]
        found = moved(stages("precondition factored_rms()", "..."), tall, gradients)
        state = tx.init([jnp.asarray(x) for x in tall])
        for gradient, step in zip(gradients, found, strict=True):
            expected, state = tx.update([jnp.asarray(g) for g in gradient], state, tall)
            assert_same([step], [expected], 1e-12)


def test_small_tensors_are_not_factored():
    run = Run("adafactor", [np.ones((127, 128)), np.ones((128, 127))])
    assert all(x is None for x in run.slot("v_row"))
    assert [x.shape for x in run.slot("v")] == [(127, 128), (128, 127)]


def test_adafactor_clips_the_direction_and_scales_it_by_the_weights():
    """The root mean square of a step is at most lr max(rms(w), 1e-3), and is that at first."""
    for old, step in zip(walk("adafactor", lr=0.1), moved("adafactor", lr=0.1), strict=False):
        for w, x in zip(old, step, strict=True):
            bound = 0.1 * np.sqrt(np.mean(w**2))
            assert np.sqrt(np.mean(x**2)) <= bound * (1 + CLOSE)
    (first,) = moved("adafactor", gradients=GRADIENTS[:1], lr=0.1)
    sizes = [np.sqrt(np.mean(x**2)) for x in first]
    np.testing.assert_allclose(sizes, [0.1 * np.sqrt(np.mean(w**2)) for w in WEIGHTS], rtol=CLOSE)


@pytest.mark.parametrize("lr", [0.1, 0.001])
def test_the_decay_of_adafactor_does_not_depend_on_the_rate(lr):
    (step,) = moved("adafactor", [np.ones(3)], [[np.zeros(3)]], lr=lr, decay=0.01)
    np.testing.assert_allclose(step[0], 0.01, rtol=CLOSE)


def test_the_relative_rate_of_adafactor_is_capped_and_then_falls():
    run = Run(stages("tune step min(0.01, 1 / sqrt(t))", "observe eta as eta"), [np.ones(1)])
    run.count = 9_999
    assert run.step([np.ones(1)]).observed["eta"] == 0.01
    run.count = 39_999
    assert run.step([np.ones(1)]).observed["eta"] == pytest.approx(1 / 200)
    (step,) = moved("adafactor_relative", [3 * np.ones(4)], [[np.ones(4)]])
    np.testing.assert_allclose(step[0], 0.01 * 3, rtol=CLOSE)


def test_adafactorw_is_adamw_where_the_squares_have_rank_one_and_on_vectors():
    values = {"lr": 0.1, "b1": 0.8, "b2": 0.9, "eps": 1e-8, "decay": 0.1}
    gradients = rank_one(5)
    found, expected = (walk(n, LARGE, gradients, **values) for n in ("adafactorw", "adamw"))
    assert_same(found, expected, 1e-12)
    vectors = [[g[1]] for g in GRADIENTS]
    found, expected = (walk(n, WEIGHTS[1:], vectors, **values) for n in ("adafactorw", "adamw"))
    assert_same(found, expected)


@pytest.mark.parametrize("name", ["adafactorw", "adalayer"])
def test_rows_without_a_gradient_stay_where_they_are(name):
    zero = [[np.zeros((3, 4)), np.zeros(5)]]
    assert_same(walk(name, gradients=zero), [WEIGHTS, WEIGHTS])
    half = [np.array(GRADIENTS[0][0]), np.zeros(5)]
    half[0][1] = 0
    after = walk(name, gradients=[half] * 3)[-1]
    np.testing.assert_array_equal(after[0][1], WEIGHTS[0][1])
    assert np.isfinite(after[0]).all()


# ---- one moment for each layer


ADALAYER = {"lr": 0.1, "b1": 0.8, "b2": 0.9, "eps": 1e-8, "decay": 0.1}


def test_adalayer_of_one_weight_or_of_equal_sizes_is_adam():
    single = [np.array([[0.7]])]
    gradients = [[RNG.normal(size=(1, 1))] for _ in range(STEPS)]
    adam = walk("adamw", single, gradients, **ADALAYER)
    assert_same(walk("adalayer", single, gradients, **ADALAYER), adam)
    signs = [[size * np.sign(g[0])] for size, g in enumerate(GRADIENTS, 1)]
    adam = walk("adamw", WEIGHTS[:1], signs, **ADALAYER)
    assert_same(walk("adalayer", WEIGHTS[:1], signs, **ADALAYER), adam)


def test_the_first_step_of_adalayer_has_the_size_of_the_rate():
    (step,) = moved("adalayer", gradients=GRADIENTS[:1], lr=0.1)
    np.testing.assert_allclose([np.sqrt(np.mean(x**2)) for x in step], 0.1, rtol=CLOSE)


def test_the_corrected_adalayer_has_a_moment_for_each_word():
    """A table with a row for each word is a kernel with a column for each, turned."""
    words = 10_001
    table, gradient = RNG.normal(size=(words, 2)), RNG.normal(size=(words, 2))
    run = Run("adalayer_corrected", [table, table.T, WEIGHTS[0]])
    run.step([gradient, gradient.T, GRADIENTS[0][0]])
    row, column, plain = run.weights
    np.testing.assert_array_equal(row, column.T)
    np.testing.assert_allclose(np.mean((table - row) ** 2, axis=1), 3.16e-3**2, rtol=1e-9)
    (expected,) = walk("adalayer", WEIGHTS[:1], [[GRADIENTS[0][0]]])[1]
    np.testing.assert_array_equal(plain, expected)


# ---- sums of squares


@pytest.mark.parametrize("b2", [1.0, 0.9])
def test_sm3_of_any_axes_is_that_of_optax(b2):
    shapes = [(5,), (3, 4), (2, 3, 2), (2, 1, 3, 2)]
    weights, *gradients = ([RNG.normal(size=shape) for shape in shapes] for _ in range(4))
    with jax.enable_x64(True):
        tx = optax.scale_by_sm3(0.8, b2, 1e-4)
        state = tx.init([jnp.asarray(w) for w in weights])
        found = moved(stages(f"precondition sm3(0.8, {b2}, 1e-4)", "..."), weights, gradients)
        for gradient, step in zip(gradients, found, strict=True):
            expected, state = tx.update([jnp.asarray(g) for g in gradient], state)
            assert_same([step], [expected], 1e-12)


def test_the_sums_of_sm3_are_no_less_than_those_of_adagrad():
    run = Run("sm3", WEIGHTS[:1])
    total = 0
    for gradient in GRADIENTS:
        run.step(gradient[:1])
        total = total + gradient[0] ** 2
        (row,), (column,) = run.slot("mu_row"), run.slot("mu_col")
        assert (np.minimum(row, column) >= total * (1 - CLOSE)).all()


def test_adagrad_norm_divides_by_the_root_of_all_squares():
    run = Run("adagrad_norm", WEIGHTS, lr=0.5, initial=0.3)
    total = 0.3**2
    for gradient in GRADIENTS:
        total += sum(float(np.sum(g**2)) for g in gradient)
        eta = run.step(gradient).observed["step_size"]
        np.testing.assert_allclose(eta, 0.5 / np.sqrt(total), rtol=CLOSE)
