"""STORM, IGT and HARPG: averages of gradients that are moved to where the weights are now."""

from functools import partial

import numpy as np
import pytest
from objectives import Asking, Curved, Net, Quadratic, Straight

RNG = np.random.default_rng(12)
START = np.array([1.0, -2.0, 0.5, 3.0])
TURN = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
HESSIAN = (TURN * [3.0, 1.0, 0.5, 0.1]) @ TURN.T
NOISES = RNG.normal(size=(20, 4))


def half(op, site, rounds, like):
    """The scalar that is drawn, always the same."""
    assert like is None
    return 0.375


def run(perturb, *stages, start=START, draw=half):
    """An optimizer of one perturbation on its way."""
    lines = "\n  ".join((f"perturb {perturb}", *stages))
    return Asking(f"optimizer one() {{\n  {lines}\n}}\n", [start], draw=draw)


def visited(running, objectives):
    """The weights before each step."""
    found = []
    for objective in objectives:
        found.append(running.weights[0])
        running.follow(objective)
    return np.stack(found)


NOISY = [Quadratic(HESSIAN, noise) for noise in NOISES]
SHARES = ("0.3", "(2 / (t + 1))^0.8")


@pytest.mark.parametrize("stages", [("tune step 0.2",), ("precondition unit()", "tune step 0.1")])
@pytest.mark.parametrize("share", SHARES)
def test_with_additive_noise_on_a_quadratic_the_three_are_one(share, stages):
    """The same noise and the same share: the same weights, to rounding."""
    ways = [
        visited(run(f"{rule}({share})", *stages), NOISY)
        for rule in ("storm", "transported", "harpg")
    ]
    assert np.ptp(ways[0]) > 1
    for way in ways[1:]:
        np.testing.assert_allclose(way, ways[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("rule", ["storm", "transported", "harpg"])
def test_the_error_is_an_average_of_the_noises_alone(rule, share):
    """e = (1 - a) e + a xi, from e = xi at the first step: no bias from the weights that move."""
    running, error = run(f"{rule}({share})", "tune step 0.2"), NOISES[0]
    for objective in NOISY:
        error = (1 - share) * error + share * objective.noise
        x = running.weights[0]
        step = running.follow(objective)
        np.testing.assert_allclose(step / 0.2, HESSIAN @ x + error, rtol=0, atol=1e-12)


def test_igt_averages_the_noises_of_all_steps_alike():
    running, plain = run("igt()", "tune step 0.2"), run("igt(2.5)", "tune step 0.2")
    for count, objective in enumerate(NOISY, 1):
        x = running.weights[0]
        step = running.follow(objective)
        mean = NOISES[:count].mean(axis=0)
        np.testing.assert_allclose(step / 0.2, HESSIAN @ x + mean, rtol=0, atol=1e-11)
    # Without noise it is the gradient at the weights, whatever delta is.
    for _ in range(5):
        x = plain.weights[0]
        np.testing.assert_allclose(plain.follow(Quadratic(HESSIAN)), 0.2 * HESSIAN @ x, atol=1e-13)


@pytest.mark.parametrize("interval", [2, 5])
def test_the_tail_of_igt_has_the_variance_of_a_part_of_the_steps(interval):
    """Each weight of a noise is found by a noise that is 1 in one step and 0 in the others."""
    steps = 15
    weights = np.zeros(steps)
    for place in range(steps):
        running = run(f"igt_tail({interval})", "tune step 1.0", start=np.zeros(1))
        for step in range(steps):
            weights[place] = running.follow(Quadratic(0.0, float(step == place)))[0]
    assert weights.sum() == pytest.approx(1, rel=1e-13)
    assert (weights**2).sum() == pytest.approx(interval / steps, rel=1e-13)


def test_igt_with_momentum_is_the_table_of_its_authors():
    """H = diag(2, 1), from (1, 1), rate 0.1, momentum 0.5: points asked, and weights."""
    asked = [(2, 1), (1.2, 0.8), (0.04, 0.48), (-0.824, 0.176)]
    weights = [(0.8, 0.9), (0.54, 0.76), (0.302, 0.614), (0.1226, 0.4796)]
    start = np.ones(2)
    running = run("igt()", "precondition momentum(0.5)", "tune step 0.1", start=start)
    for g, w in zip(asked, weights, strict=True):
        objective = Quadratic(np.diag([2.0, 1.0]))
        running.follow(objective)
        np.testing.assert_allclose(objective.hessian @ objective.points[-1], g, atol=1e-14)
        np.testing.assert_allclose(running.weights[0], w, atol=1e-14)
    plain = run("igt()", "tune step 0.1", start=start)
    for w in [(0.8, 0.9), (0.64, 0.81), (0.512, 0.729)]:
        plain.follow(Quadratic(np.diag([2.0, 1.0])))
        np.testing.assert_allclose(plain.weights[0], w, atol=1e-14)


def test_one_batch_makes_them_one_wherever_its_gradient_is_affine_and_no_further():
    """Least squares with a random row each step too, since all questions see the same row."""
    rows = [Quadratic(np.outer(r, r)) for r in NOISES / 2]
    curved = [Net(r[None], (4, 1), Curved()) for r in NOISES / 2]
    for objectives, same in ((rows, True), (curved, False)):
        storm, *others = (
            visited(run(f"{rule}(0.3)", "tune step 0.2"), objectives)
            for rule in ("storm", "transported", "harpg")
        )
        for other in others:
            difference = np.abs(storm - other).max()
            assert difference < 1e-12 if same else difference > 1e-3


def test_a_transported_step_asks_at_one_point_that_is_not_the_weights():
    running = run("transported(0.25)", "tune step 0.1")
    objective = Quadratic(HESSIAN)
    running.follow(objective)
    before, now = START, running.weights[0]
    running.follow(objective)
    np.testing.assert_allclose(objective.points[-1], now + 3 * (now - before), atol=1e-14)


def test_a_hessian_product_at_a_random_point_has_no_bias_and_at_the_end_it_has():
    """The mean over q of H(q) v is the change of the gradient: by quadrature, on a cubic net."""
    net = Net(np.ones((1, 1)), (1, 1, 1, 1), Straight(1.0), linear=True)
    start = np.array([1.0, 0.5, -0.7])

    def moved(q):
        running = run("harpg(0.5)", "tune step 0.5", start=start, draw=lambda *_: q)
        running.follow(net)
        x = running.weights[0]
        # d = (1 - a) (d + H v) + a g, and the first d is the gradient there.
        first, now = net.grad([start])[0], net.grad([x])[0]
        product = (running.follow(net) / 0.5 - 0.5 * now) / 0.5 - first
        return product, now - first

    nodes, weights = np.polynomial.legendre.leggauss(2)
    mean = sum(w / 2 * moved((1 + q) / 2)[0] for q, w in zip(nodes, weights, strict=True))
    change = moved(1.0)[1]
    np.testing.assert_allclose(mean, change, atol=1e-14)
    assert np.abs(moved(1.0)[0] - change).max() > 0.01


def test_storm_follows_its_own_step_size():
    """eta = k / (w + sum |g|^2)^(1/3), and a = min(1, c eta^2) of the step before."""
    k, offset, c = 0.2, 0.3, 1000.0
    running = Asking("storm", [START], k=k, offset=offset, c=c)
    x, last, estimate, total, a = START, START, np.zeros(4), 0.0, 1.0
    seen = []
    for objective in NOISY:
        g, old = (HESSIAN @ at + objective.noise for at in (x, last))
        estimate = g + (1 - a) * (estimate - old)
        total += g @ g
        eta = k / (offset + total) ** (1 / 3)
        x, last, a = x - eta * estimate, x, min(1.0, c * eta**2)
        running.follow(objective)
        np.testing.assert_allclose(running.weights[0], x, rtol=1e-12)
        seen.append(a)
    assert min(seen) < 0.5 < 1 == max(seen), "the limit was met, and left"


def test_storm_plus_follows_the_code_of_its_authors():
    """Its update comes with the next call, with sums that already have this step."""
    lr, c = 0.3, 0.9
    running = Asking("storm_plus", [START], lr=lr, c=c)
    x, last, estimate = START, START, np.zeros(4)
    squares, weighted, a = 1.0, 1.0, 1.0
    for objective in NOISY:
        g, old = (HESSIAN @ at + objective.noise for at in (x, last))
        estimate = g + (1 - a) * (estimate - old)
        squares += g @ g
        a = c / squares ** (2 / 3)
        weighted += estimate @ estimate / a
        x, last = x - lr / weighted ** (1 / 3) * estimate, x
        running.follow(objective)
        np.testing.assert_allclose(running.weights[0], x, rtol=1e-12)


@pytest.mark.parametrize("name", ["n_pg_igt", "harpg"])
def test_normalised_steps_have_the_length_of_the_rate_and_rest_at_a_zero_gradient(name):
    running = Asking(name, [START], draw=half, lr=0.1)
    for count, objective in enumerate(NOISY[:5], 1):
        length = np.linalg.norm(running.follow(objective))
        assert length == pytest.approx(0.1 * 2 / (count + 1), rel=1e-13)
    still = Asking(name, [np.zeros(4)], draw=half)
    for _ in range(2):
        np.testing.assert_array_equal(still.follow(Quadratic(HESSIAN)), 0)


@pytest.mark.parametrize("name", ["n_pg_igt", "harpg"])
def test_without_noise_the_estimate_is_the_gradient_for_fading_shares(name):
    running = Asking(name, [START], draw=half, lr=0.5)
    for _ in range(20):
        x = running.weights[0]
        running.follow(Quadratic(HESSIAN))
        np.testing.assert_allclose(running.slot("estimate")[0], HESSIAN @ x, rtol=1e-12)


def test_a_share_of_one_is_the_plain_gradient():
    plain = [objective.grad([START])[0] for objective in NOISY[:2]]
    for rule in ("storm", "transported", "harpg"):
        running = run(f"{rule}(1)", "tune step 1.0")
        np.testing.assert_allclose(running.follow(NOISY[0]), plain[0], atol=1e-13)
        running.weights = [START]
        np.testing.assert_allclose(running.follow(NOISY[1]), plain[1], atol=1e-13)


# ---- Langevin noise


def test_langevin_noise_has_the_variance_of_the_rate_and_the_temperature():
    drawn = partial(lambda noise, op, site, rounds, like: [noise], RNG.normal(size=4))
    running = Asking("sgld", [START], draw=drawn, lr=0.2, temperature=0.05)
    running.follow(Quadratic(HESSIAN))
    expected = START - 0.2 * HESSIAN @ START + np.sqrt(2 * 0.2 * 0.05) * drawn("", 0, (), None)[0]
    np.testing.assert_allclose(running.weights[0], expected, atol=1e-14)


def test_langevin_dynamics_settle_at_the_temperature():
    """On h w^2 / 2 the variance is T / (h (1 - lr h / 2)); each weight is a chain of its own."""
    n, lr, h, temperature = 4000, 0.5, 1.5, 0.1
    source = np.random.default_rng(3)

    def drawn(op, site, rounds, like):
        return [source.normal(size=n)]

    running = Asking("sgld", [np.zeros(n)], draw=drawn, lr=lr, temperature=temperature)

    class Diagonal(Quadratic):
        def grad(self, at):
            return [h * at[0]]

        def loss(self, at):
            return 0.0

    for _ in range(40):  # (1 - lr h)^80 is below 1e-48
        running.follow(Diagonal(h))
    expected = temperature / (h * (1 - lr * h / 2))
    # The standard deviation of an estimated variance is sqrt(2 / n) = 0.022 of it.
    assert running.weights[0].var() == pytest.approx(expected, rel=4 * np.sqrt(2 / n))
