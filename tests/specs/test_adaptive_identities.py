"""The adaptive family where optax has no twin: identities, closed forms, and the papers' formulas.

By the reference interpreter on gradients that are given: float64, and no JAX. A few roundings of
2^-53 for each of twenty steps, in the rules and in the weights whose differences are the steps,
stay below `CLOSE` relative to the largest; tests that divide by small numbers say what they allow.
"""

from itertools import pairwise

import numpy as np
import pytest
from interpreted import flat, graph_of, stages, steps, trace

from optc.compiler.environment import Tensors
from optc.compiler.interpret import Interpreter

CLOSE = 1e-13
STEPS = 20
SHAPES = ((3, 2), (4,), ())


def _draw(seed, sizes):
    rng = np.random.default_rng(seed)
    return [[size * rng.normal(size=shape) for shape in SHAPES] for size in sizes]


WEIGHTS = _draw(1, [1.0])[0]
GRADIENTS = _draw(2, 10.0 ** np.random.default_rng(3).uniform(-1, 1, STEPS))
SMALL = [[g / 100 for g in now] for now in GRADIENTS]
CONSTANT = [GRADIENTS[0]] * STEPS
FIRST = flat(GRADIENTS[0])


def staged(*lines):
    """An optimizer of these stages at rate 1, as text."""
    return stages(*lines, "...")


def assert_same(found, expected, tolerance=CLOSE):
    """Equal steps, relative to the largest number."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# ---- one optimizer is another


SAME = {
    # The method pages: AdEMAMix without its slow part, MARS without its change, and so on.
    "ademamix(alpha = 0) is adam": ("ademamix(alpha = 0)", "adam()"),
    "ademamix_paper(alpha = 0) is adam": ("ademamix_paper(alpha = 0)", "adam()"),
    "ademamix_paper after its warm-up": ("ademamix_paper(warmup = 1)", "ademamix(alpha = 5)"),
    "optimistic(beta = 0) is nothing": ("optimistic(beta = 0)", "identity()"),
    "grokfast without amplification": ("grokfast(amplification = 0)", "identity()"),
    "lion with one beta is signum": ("lion(0.9, 0.9)", ("average_gradient(0.9)", "sign()")),
    "lion_smooth, sharp, is lion": ("lion_smooth(sharpness = 1e300)", "lion()"),
    "qhadam with both nus 1 is adam": ("qhadam(0.9, nu1 = 1)", "adam()"),
    "qhm with nu 0 is gradient descent": ("qhm(nu = 0)", "identity()"),
    "qhm with nu 1 is damped momentum": ("qhm(0.9, nu = 1)", "average_gradient(0.9)"),
    "padam with p = 1/2 is amsgrad_paper": ("padam(p = 0.5)", "amsgrad_paper()"),
    "aggmo of one length is momentum": ("aggmo(0.9, 0.9, 0.9)", "momentum(0.9)"),
    "laprop and adam agree without momentum": ("laprop(b1 = 0)", "adam(b1 = 0, eps = 1e-15)"),
    "debiased_rms is adam without momentum": ("debiased_rms()", "adam(b1 = 0)"),
    "adan without betas is normalised": ("adan(0, 0, 0, 0)", "sign()"),
    "adan_optax is adan at b2 = 1/2": ("adan_optax(b2 = 0.5)", "adan(b2 = 0.5)"),
    "simplified_ademamix without betas": (
        "simplified_ademamix(0, 0, alpha = 0, eps = 0)",
        "sign()",
    ),
    "radam_torch is radam without eps": ("radam_torch(eps = 0)", "radam(eps = 0)"),
    "rmsprop's dialects agree without eps": ("rmsprop_torch(0.9, 0)", "rmsprop(0.9, 0)"),
    "adagrad's dialects agree without eps": ("adagrad_torch(0.1, 0)", "adagrad(0.1, 0)"),
    "nadam_torch without its schedule halves b1": (
        "nadam_torch(b1 = 0, momentum_decay = 0)",
        "debiased_rms()",
    ),
    "momentum_torch undamped is momentum": ("momentum_torch(0.8)", "momentum(0.8)"),
    "momentum_torch with Nesterov is nesterov": (
        "momentum_torch(0.8, nesterov = true)",
        "nesterov(0.8)",
    ),
    "acprop without memory divides by the last gradient": (
        "acprop(b1 = 0, b2 = 0, eps = 0, eps_root = 0)",
        "over_change()",
    ),
}
LAST = """
rule precondition over_change() {
  state older = zeros(g)
  state old = g
  u = where(t == 1, g, g / abs(old - older))
  older <- where(t == 1, 0, old)
  old <- g
  return u
}
"""


@pytest.mark.parametrize("name", SAME)
def test_a_rule_is_another_at_special_values(name):
    one, other = (
        LAST + staged(*(f"precondition {rule}" for rule in ([x] if isinstance(x, str) else x)))
        for x in SAME[name]
    )
    assert_same(steps(one, GRADIENTS, WEIGHTS), steps(other, GRADIENTS, WEIGHTS))


def test_mars_without_its_change_is_adam_where_gradients_are_short():
    """And with it the first gradient is 1 + gamma b1 / (1 - b1) = 1.475 times as long."""
    assert max(np.linalg.norm(g) for now in SMALL for g in now) < 1 / 1.475
    mars = steps("mars_adamw", SMALL, WEIGHTS, gamma=0.0, decay=0.1)
    adam = steps("adamw", SMALL, WEIGHTS, lr=3e-3, b1=0.95, b2=0.99, decay=0.1)
    assert_same(mars, adam)
    (first,) = steps(staged("precondition mars()"), SMALL[:1], WEIGHTS)
    assert_same(first, 1.475 * flat(SMALL[0]))


def test_mars_limits_the_length_of_each_tensor():
    visited = trace(staged("precondition mars()"), GRADIENTS, WEIGHTS)
    lengths = [
        np.linalg.norm(a - b)
        for old, new in pairwise(visited)
        for a, b in zip(old, new, strict=True)
    ]
    assert max(lengths) <= 1 + CLOSE
    assert min(lengths) < 0.9


def test_exact_mars_takes_the_change_on_one_batch():
    """On quadratics that share a Hessian h: the change is h (w - w_before), whatever the batch."""
    h, gamma, b1 = 3.0, 0.1, 0.5
    spec = stages(f"perturb mars_exact(gamma = {gamma}, b1 = {b1})", "tune step 0.1")
    runner = Interpreter(graph_of(spec), Tensors(["w"], ["float64"]), {})
    before = w = [np.array([0.05, -0.02])]
    slots = runner.start(w)
    for t, centre in enumerate((0.0, 0.01, -0.03), 1):
        runner.oracles = Quadratic(h, centre)
        outcome = runner.step(w, slots, t)
        c = h * (w[0] - centre) + gamma * b1 / (1 - b1) * h * (w[0] - before[0])
        np.testing.assert_allclose(w[0] - outcome.weights[0], 0.1 * c, rtol=0, atol=1e-16)
        before, w, slots = w, outcome.weights, outcome.slots


def test_mars_lion_keeps_the_momentum_that_it_follows():
    """Lion with b1 = b2 on the same gradients: signum."""
    lion = staged("precondition mars()", "precondition lion(0.95, 0.95)")
    lion = steps(lion, GRADIENTS, WEIGHTS)
    assert_same(steps("mars_lion", GRADIENTS, WEIGHTS, lr=1.0), lion)


# ---- first steps, and constant gradients


class Quadratic:
    """h |w - centre|^2 / 2."""

    def __init__(self, h, centre):
        self.h, self.centre = h, centre

    def loss(self, at):
        return sum(self.h * np.sum((x - self.centre) ** 2) / 2 for x in at)

    def grad(self, at):
        return [self.h * (x - self.centre) for x in at]


def rate(name):
    """The default rate of an optimizer."""
    return next(h.default for h in graph_of(name).hyperparameters if h.name == "lr")


FIRST_STEPS = {
    # What the first step is, over the rate: |direction| of a gradient g without eps.
    "adam": np.sign,
    "adam_coupled": np.sign,
    "amsgrad": np.sign,
    "amsgrad_torch": np.sign,
    "adamax": np.sign,
    "laprop": np.sign,
    "adan": np.sign,
    "qhadam": np.sign,
    "cautious_adamw": np.sign,
    "grams": np.sign,
    "grokfast_adamw": np.sign,
    "adamw_atan2": np.sign,
    "mars_lion": np.sign,
    "sign_sgd": np.sign,
    "lion": np.sign,
    # b1^t and b2^t of the paper's moments, which nothing debiases.
    "amsgrad_paper": lambda g: 0.1 / np.sqrt(1e-3) * np.sign(g),
    "padam": lambda g: 0.1 * g / (1e-3 * g**2) ** 0.125,
    "rmsprop_torch": lambda g: 10 * np.sign(g),
    "rmsprop_centered_torch": lambda g: np.sign(g) / np.sqrt(0.01 * 0.99),
    "adagrad_torch": np.sign,
    # |g| / sqrt(e_x) starts at the root of eps = 1e-6 over that of (1 - rho) g^2.
    "adadelta": lambda g: np.sqrt(1e-6 / (0.1 * g**2 + 1e-6)) * g,
    # eps is not negligible here.
    "yogi_paper": lambda g: 0.1 * g / (np.sqrt(1e-6 + 1e-3 * g**2) + 1e-3),
    # b1 mu / (1 - b1^2) + (1 - b1) g / (1 - b1) with mu = (1 - b1) g.
    "nadam": lambda g: (0.9 / 1.9 + 1) * np.sign(g),
    # Momentum alone.
    "radam": lambda g: g,
    "radam_torch": lambda g: g,
    # Nothing is known of the variance yet.
    "adopt": np.zeros_like,
    "adopt_unclipped": np.zeros_like,
    "acprop": lambda g: g,
    "msvag": lambda g: g,
    "qhm": lambda g: (0.3 + 0.7 * 1e-3) * g,
    "aggmo": lambda g: g,
    # The average of rates has seen a thousandth of one.
    "adamod": lambda g: 1e-3 * np.sign(g),
    "diffgrad": lambda g: np.sign(g) / (1 + np.exp(-np.abs(g))),
    "optimistic_adam_paper": np.sign,
    "optimistic_gradient_descent": lambda g: g,
    "simplified_ademamix": np.sign,
    "ademamix": lambda g: (1 + 5 * 1e-4) * np.sign(g),
    "sgd_torch": lambda g: g,
    "sgd_nesterov": lambda g: 1.9 * g,
}


@pytest.mark.parametrize("name", FIRST_STEPS)
def test_the_first_step_is_known(name):
    names = {h.name for h in graph_of(name).hyperparameters}
    values = {"decay": 0.0} if "decay" in names else {}
    (found,) = steps(name, GRADIENTS[:1], WEIGHTS, **values)
    # eps of 1e-6 over gradients of at least 1e-2, and the rounding of weights of order 1.
    expected = rate(name) * FIRST_STEPS[name](FIRST)
    assert np.abs(FIRST).min() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)


def test_padam_takes_its_decay_for_a_part_of_the_gradient():
    (found,) = steps("padam", GRADIENTS[:1], WEIGHTS, decay=0.5, eps=0.0)
    pulled = FIRST + 0.5 * flat(WEIGHTS)
    expected = rate("padam") * FIRST_STEPS["padam"](pulled)
    assert_same(found, expected)


def test_adan_with_a_constant_gradient_takes_steps_of_the_rate():
    """No change, and a debiased average of one value is that value."""
    for name in ("adan", "adan_optax"):
        found = steps(name, CONSTANT, WEIGHTS, decay=0.0, lr=1.0)
        np.testing.assert_allclose(found, np.tile(np.sign(FIRST), (STEPS, 1)), rtol=1e-5)


def test_adan_differs_from_optax_from_the_second_step_on():
    ours, theirs = (
        steps(name, GRADIENTS, WEIGHTS, decay=0.0, lr=1.0) for name in ("adan", "adan_optax")
    )
    # optax adds 1e-8 to the square under the root.
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-8 / np.min(FIRST**2))
    assert (np.abs(ours[1:] - theirs[1:]).max(axis=1) > 1e-3).all()


def test_adan_decays_by_a_proximal_step():
    """Where the gradient is zero the weights are divided by 1 + lr * decay."""
    visited = trace("adan", [[0 * g for g in now] for now in GRADIENTS], WEIGHTS, lr=0.5, decay=0.2)
    assert_same(flat(visited[-1]), flat(WEIGHTS) / 1.1**STEPS)


def test_rprop_grows_while_signs_stay_up_to_its_limit():
    found = steps("rprop", CONSTANT, WEIGHTS, max_step_size=0.05)
    sizes = np.minimum(0.01 * 1.2 ** np.arange(STEPS), 0.05)
    assert_same(found, np.outer(sizes, np.sign(FIRST)))


def test_rprop_rests_where_signs_turn():
    """Each turn halves the size, moves nothing and forgets the sign."""
    turning = [[sign * g for g in GRADIENTS[0]] for sign in (1, -1, -1, 1, 1)]
    found = steps("rprop", turning, WEIGHTS)
    sizes = np.array([0.01, 0, -0.005, 0, 0.0025])
    assert_same(found, np.outer(sizes, np.sign(FIRST)))


def test_novograd_divides_each_tensor_by_its_norm():
    (found,) = steps("novograd", GRADIENTS[:1], WEIGHTS, lr=1.0, eps=0.0, decay=0.1)
    expected = [g / np.linalg.norm(g) + 0.1 * w for g, w in zip(GRADIENTS[0], WEIGHTS, strict=True)]
    assert_same(found, flat(expected))


def test_rprop_of_optax_is_a_step_late_while_signs_stay():
    late = steps("rprop_optax", CONSTANT, WEIGHTS)
    assert not late[0].any()
    assert_same(late[1:], steps("rprop", CONSTANT, WEIGHTS)[:-1])


# ---- laws that hold on every path


def test_amsgrad_never_shrinks_its_denominator():
    """Without momentum the step over the gradient is one over it; in torch's dialect it grows."""
    path = [[g * (10 if i < 3 else 1) for g in now] for i, now in enumerate(GRADIENTS)]
    g = np.stack([flat(now) for now in path])

    def rates(name):
        return steps(name, path, WEIGHTS, lr=1.0, b1=0.0, eps=0.0) / g

    def grows(name):
        found = rates(name)
        # Steps are differences of weights, up to a hundred times as large.
        return found[1:] > found[:-1] * (1 + 1e-11)

    assert not grows("amsgrad").any()
    assert not grows("amsgrad_paper").any()
    assert grows("amsgrad_torch").any()


@pytest.mark.parametrize("name", ["cautious_adamw", "cautious_lion"])
def test_cautious_steps_descend_in_every_element(name):
    found = steps(name, GRADIENTS, WEIGHTS, decay=0.0)
    g = np.stack([flat(now) for now in GRADIENTS])
    assert (found * g >= 0).all()
    assert (found == 0).any(), "some elements disagree"


def test_cautious_steps_keep_the_sum_of_what_adam_moves():
    """Each element that agrees moves by Adam's step over the share that agrees in its tensor."""
    adam = steps("adamw", GRADIENTS, WEIGHTS, decay=0.0)
    found = steps("cautious_adamw", GRADIENTS, WEIGHTS, decay=0.0)
    agrees = adam * np.stack([flat(now) for now in GRADIENTS]) > 0
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]
    for part, mask, step in zip(
        *(np.split(x, ends, axis=1) for x in (found, agrees, adam)), strict=True
    ):
        share = np.maximum(mask.mean(axis=1, keepdims=True), 1e-3)
        np.testing.assert_allclose(part, mask * step / share, rtol=0, atol=1e-12)


def test_grams_has_the_length_of_adam_and_the_sign_of_the_gradient():
    grams, adam = (steps(name, GRADIENTS, WEIGHTS, decay=0.0) for name in ("grams", "adamw"))
    np.testing.assert_allclose(np.abs(grams), np.abs(adam), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(np.sign(grams), np.sign([flat(now) for now in GRADIENTS]))


@pytest.mark.parametrize("name", ["adamw_atan2", "sign_sgd", "lion", "signum", "grams"])
def test_the_scale_of_the_gradient_does_not_matter(name):
    values = {"eps": 0.0} if name == "grams" else {}
    longer = [[1024 * g for g in now] for now in GRADIENTS]
    one, other = (steps(name, path, WEIGHTS, **values) for path in (GRADIENTS, longer))
    np.testing.assert_array_equal(one, other)


def test_arc_tangent_steps_are_bounded_and_nothing_where_no_gradient_was():
    stage = staged("precondition adam_atan2()")
    assert np.abs(steps(stage, GRADIENTS, WEIGHTS)).max() <= 2
    assert not steps(stage, [[0 * g for g in GRADIENTS[0]]], WEIGHTS).any()


def test_adabound_keeps_its_rates_between_bounds_that_meet():
    """Without momentum the step over the gradient is the rate; at a large gamma it is SGD's."""
    g = np.stack([flat(now) for now in GRADIENTS])
    for name in ("adabound", "amsbound"):
        found = steps(name, GRADIENTS, WEIGHTS, lr=1.0, b1=0.0, gamma=1.0) / g
        t = np.arange(1, STEPS + 1)[:, None]
        assert (found >= 0.1 * (1 - 1 / (t + 1)) - CLOSE).all()
        assert (found <= 0.1 * (1 + 1 / t) + CLOSE).all()
        assert_same(steps(name, GRADIENTS, WEIGHTS, b1=0.0, gamma=1e15), 0.1 * g)


def test_adopt_reads_the_moment_before_it_writes_it():
    """The second step divides by the first gradient, and is clipped at 1."""
    first, second = flat(GRADIENTS[0]), flat(GRADIENTS[1])
    found = steps("adopt_unclipped", GRADIENTS[:2], WEIGHTS, lr=1.0)
    assert_same(found[1], 0.1 * second / np.abs(first))
    clipped = steps("adopt", GRADIENTS[:2], WEIGHTS, lr=1.0)
    assert_same(clipped[1], 0.1 * np.clip(second / np.abs(first), -1, 1))


def test_adopt_does_not_move_at_first_whatever_the_gradient():
    for name in ("adopt", "adopt_unclipped"):
        assert not steps(name, [[1e6 * g for g in GRADIENTS[0]]], WEIGHTS).any()


def test_madgrad_without_momentum_goes_along_the_weighted_sum_of_gradients():
    """x = x0 - s / cbrt(v) with weights lr sqrt(t), the paper's closed form."""
    visited = trace("madgrad", GRADIENTS, WEIGHTS, lr=0.1, momentum=0.0, eps=0.0)
    g = np.stack([flat(now) for now in GRADIENTS])
    weight = 0.1 * np.sqrt(np.arange(1, STEPS + 1))[:, None]
    s, v = np.cumsum(weight * g, axis=0), np.cumsum(weight * g**2, axis=0)
    assert_same(np.stack([flat(w) for w in visited[1:]]), flat(WEIGHTS) - s / np.cbrt(v))


def test_ademamix_moves_the_half_life_of_its_slow_momentum_linearly():
    """The direction shows b3: with eps huge and alpha a power of two, m2 can be read off."""
    warmup, b1, b3 = 40.0, 0.9, 0.999
    part = np.arange(1, STEPS + 1) / warmup
    half_lives = (1 - part) * np.log(0.5) / np.log(b1) + part * np.log(0.5) / np.log(b3)
    keeps = 0.5 ** (1 / half_lives)
    m1 = m2 = 0 * FIRST
    expected = []
    for t, now in enumerate(GRADIENTS, 1):
        g = flat(now)
        m1 = b1 * m1 + (1 - b1) * g
        m2 = keeps[t - 1] * m2 + (1 - keeps[t - 1]) * g
        expected.append(m1 / (1 - b1**t) + 8 * part[t - 1] * m2)
    rule = f"ademamix_paper(b3 = {b3}, alpha = 8, eps = 1e30, warmup = {warmup})"
    found = steps(staged(f"precondition {rule}", "precondition scaled(1e30)"), GRADIENTS, WEIGHTS)
    assert_same(found, np.stack(expected), 1e-12)


def test_adamw_paper_decays_by_its_schedule_and_not_by_its_rate():
    """With no gradient the weights shrink by 1 - decay * schedule, at any rate."""
    zero = [[0 * g for g in now] for now in GRADIENTS]
    schedule = (1 + np.cos(np.pi * np.arange(1, STEPS + 1) / 40)) / 2
    expected = flat(WEIGHTS) * np.prod(1 - 0.1 * schedule)
    for lr in (1e-3, 10.0):
        visited = trace("adamw_paper", zero, WEIGHTS, lr=lr, decay=0.1, total=40)
        assert_same(flat(visited[-1]), expected)


def test_adamw_paper_is_adamw_of_another_decay_at_one_moment():
    """decay of the paper = lr * decay of the other, in the first step of a long schedule."""
    (paper,) = steps("adamw_paper", GRADIENTS[:1], WEIGHTS, lr=0.01, decay=0.002, total=10**9)
    (other,) = steps("adamw", GRADIENTS[:1], WEIGHTS, lr=0.01, decay=0.2)
    assert_same(paper, other)


def test_coupled_decay_is_normalised_and_decoupled_decay_is_not():
    """With no gradient Adam moves every weight by its rate, however small the penalty."""
    zero = [[0 * g for g in GRADIENTS[0]]]
    (coupled,) = steps("adam_coupled", zero, WEIGHTS, lr=0.1, eps=0.0, decay=1e-6)
    (decoupled,) = steps("adamw", zero, WEIGHTS, lr=0.1, decay=1e-6)
    assert_same(coupled, 0.1 * np.sign(flat(WEIGHTS)))
    np.testing.assert_allclose(decoupled, 1e-7 * flat(WEIGHTS), rtol=0, atol=1e-15)


def test_noise_has_the_variance_that_the_paper_gives():
    """The draw is handed in as ones, so the step is the standard deviation."""
    zero = [[0 * g for g in now] for now in GRADIENTS]
    found = steps(
        "noisy_sgd",
        zero,
        WEIGHTS,
        draw=lambda op, site, rounds, like: [np.ones_like(x) for x in like],
        lr=1.0,
        eta=0.3,
        gamma=0.55,
    )
    expected = np.sqrt(0.3 / (1 + np.arange(STEPS)) ** 0.55)
    assert_same(found, np.tile(expected[:, None], (1, FIRST.size)))


def test_optimistic_steps_sum_to_the_plain_ones_and_one_more_change():
    """The extra terms telescope: the sum of g_t - g_(t-1) is the last gradient minus the first."""
    found = steps("optimistic_gradient_descent", GRADIENTS, WEIGHTS, lr=1.0)
    g = np.stack([flat(now) for now in GRADIENTS])
    assert_same(found.sum(axis=0), g.sum(axis=0) + g[-1] - g[0], 1e-12)


def test_grokfast_leaves_a_constant_gradient_as_it_is_but_longer():
    found = steps(staged("precondition grokfast()"), CONSTANT, WEIGHTS)
    assert_same(found, np.tile(3 * FIRST, (STEPS, 1)))


def test_yogi_changes_its_moment_by_a_share_of_the_square_whatever_the_distance():
    """From 1 down by (1 - b2) g^2 with g = 1/2: the step shows the moment, exactly."""
    path = [[np.full(shape, 0.5) for shape in SHAPES]] * 4
    rule = "yogi_paper(b1 = 0, b2 = 0.75, eps = 0, initial = 1)"
    found = steps(staged(f"precondition {rule}"), path, WEIGHTS)
    moments = 1 - 0.25 * 0.25 * np.arange(1, 5)
    assert_same(found, np.tile((0.5 / np.sqrt(moments))[:, None], (1, FIRST.size)))


def test_adabelief_takes_large_steps_where_gradients_are_as_expected():
    """With a constant gradient its distance from the average is b1^t g, and its moment falls."""
    found = steps("adabelief", CONSTANT, WEIGHTS, lr=1.0, eps=0.0, eps_root=0.0)
    t = np.arange(1, STEPS + 1)
    squares = np.array([np.sum(1e-3 * 0.999 ** (n - t[:n]) * 0.9 ** (2.0 * t[:n])) for n in t])
    expected = 1 / np.sqrt(squares / (1 - 0.999**t))
    assert_same(found, np.outer(expected, np.sign(FIRST)), 1e-12)


def test_msvag_damps_by_the_variance_of_the_average():
    """Algorithm of the paper, in its own terms: m^2 / (m^2 + rho s)."""
    m = v = 0 * FIRST
    found = steps("msvag", GRADIENTS, WEIGHTS, lr=1.0)
    for t, now in enumerate(GRADIENTS, 1):
        g = flat(now)
        m, v = 0.9 * m + 0.1 * g, 0.9 * v + 0.1 * g**2
        mean, square = m / (1 - 0.9**t), v / (1 - 0.9**t)
        if t > 1:
            rho = 0.1 * (1 + 0.9**t) / (1.9 * (1 - 0.9**t))
            spread = (square - mean**2) / (1 - rho)
            np.testing.assert_allclose(
                found[t - 1], mean**3 / (mean**2 + rho * spread), rtol=1e-9, atol=1e-12
            )


def test_pnm_is_the_momentum_of_two_interleaved_series():
    """Odd and even steps each have a momentum with b1^2; with b0 = 0 the other one has no part."""
    found = steps(staged("precondition pnm(b0 = 0, b1 = 0.9)"), GRADIENTS, WEIGHTS)
    for first in (0, 1):
        one = steps(staged("precondition average_gradient(0.81)"), GRADIENTS[first::2], WEIGHTS)
        assert_same(found[first::2], one)
    settled = steps(staged("precondition pnm(b1 = 0)"), CONSTANT, WEIGHTS)
    assert_same(settled[1:], np.tile(FIRST / np.sqrt(5), (STEPS - 1, 1)))


def test_stable_adamw_is_adamw_until_a_gradient_outgrows_its_moment():
    """Constant gradients have rms 1, and one that is 10 times as long 10 over the moment's root."""
    values = {"lr": 0.1, "b2": 0.9, "eps": 1e-12, "decay": 0.1}
    path = [*CONSTANT[:5], [10 * g for g in GRADIENTS[0]]]
    stable = steps("stable_adamw", path, WEIGHTS, **values)
    adamw = steps("adamw", path, WEIGHTS, **values)
    np.testing.assert_allclose(stable[:5], adamw[:5], rtol=1e-9)
    nu = (0.1 * 100 + 0.9 * (1 - 0.9**5)) / (1 - 0.9**6)
    np.testing.assert_allclose(stable[5], adamw[5] / (10 / np.sqrt(nu)), rtol=1e-9)


def test_msvag_takes_a_constant_gradient_as_it_is():
    assert_same(steps("msvag", CONSTANT, WEIGHTS, lr=1.0), np.tile(FIRST, (STEPS, 1)), 1e-12)
