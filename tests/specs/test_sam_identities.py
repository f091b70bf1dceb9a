"""What SAM and its kin are known to do exactly, through the interpreter in float64."""

import numpy as np
import pytest
from objectives import TINY, CrossEntropy, Curved, Net, Quadratic, Straight, followed

RNG = np.random.default_rng(11)
X = np.array([1.0, -2.0, 0.5])
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
HESSIAN = (TURN * [3.0, 1.0, -0.5]) @ TURN.T
ROUNDING = 1e-14
"""Some ten roundings of numbers below 10."""

INPUTS, LABELS = RNG.normal(size=(6, 3)), RNG.integers(0, 3, 6)
KERNELS = RNG.normal(size=(3 * 4 + 4 * 3,))
DEEP = Net(INPUTS, (3, 4, 3), CrossEntropy(LABELS))
LINEAR = Net(INPUTS, (3, 3), CrossEntropy(LABELS))
STRAIGHT = Net(INPUTS, (3, 4, 3), Straight(np.cos(np.arange(18.0)).reshape(6, 3)))

PRECONDITIONED = [
    f"preconditioned_{kind}{form}"
    for kind in ("sam", "functional_sam")
    for form in ("", "_metric", "_gradient_norm")
]
RULES = (
    *("sam", "usam", "asam", "asam_weights", "functional_sam", "logit_sam", "periodic_sam"),
    *("ascending_sam", "look_sam", *PRECONDITIONED),
)


def plain(objective, x):
    return objective.grad([x])[0]


@pytest.mark.parametrize("net", [DEEP, LINEAR, STRAIGHT])
def test_the_gradient_of_the_objective_here_is_that_of_its_loss(net):
    x = KERNELS if net is not LINEAR else KERNELS[:9]
    slopes = [np.imag(net.value(x + 1j * TINY * unit)) / TINY for unit in np.eye(x.size)]
    np.testing.assert_allclose(plain(net, x), slopes, rtol=0, atol=ROUNDING)
    gauss_newton, rest = net.matrices(x)
    assert np.linalg.eigvalsh(gauss_newton).min() > -ROUNDING
    np.testing.assert_allclose(rest, 0 if net is LINEAR else rest.T, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("rule", RULES)
def test_radius_zero_is_the_plain_gradient_and_a_zero_gradient_stays_zero(rule):
    found = followed(f"{rule}(radius = 0)", DEEP, KERNELS)
    np.testing.assert_allclose(found, plain(DEEP, KERNELS), rtol=0, atol=ROUNDING)
    # With kernels that are zero no output depends on any of them.
    found = followed(f"{rule}(radius = 0.3)", DEEP, 0 * KERNELS)
    np.testing.assert_array_equal(found, 0)


def test_unnormalised_sam_on_a_quadratic_is_its_closed_form():
    """H (I + rho H) w, which is the gradient of L + rho / 2 |grad L|^2 there too."""
    found = followed("usam(radius = 0.3)", Quadratic(HESSIAN), X)
    expected = HESSIAN @ X + 0.3 * HESSIAN @ HESSIAN @ X
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    penalty = followed("gradient_penalty_squared(strength = 0.3)", Quadratic(HESSIAN), X)
    np.testing.assert_allclose(penalty, expected, rtol=0, atol=ROUNDING)


def test_sam_on_a_quadratic_is_its_closed_form_and_circles_the_minimum_at_a_distance():
    """H (w + rho H w / |H w|). For H = c that is c w (1 + rho / |w|): no step ends nearer to the
    minimum than lr c rho / (2 - lr c), and there each step turns the weights over."""
    g = HESSIAN @ X
    expected = HESSIAN @ (X + 0.3 * g / np.linalg.norm(g))
    found = followed("sam(radius = 0.3)", Quadratic(HESSIAN), X)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    c, lr, rho = 2.0, 0.4, 0.3
    orbit = lr * c * rho / (2 - lr * c) * X / np.linalg.norm(X)
    step = lr * followed(f"sam(radius = {rho})", Quadratic(c * np.eye(3)), orbit)
    np.testing.assert_allclose(orbit - step, -orbit, rtol=0, atol=ROUNDING)


def test_unnormalised_sam_is_sam_with_the_length_of_the_gradient_for_its_unit():
    length = float(np.linalg.norm(plain(DEEP, KERNELS)))
    usam = followed("usam(radius = 0.3)", DEEP, KERNELS)
    sam = followed(f"sam(radius = {0.3 * length!r})", DEEP, KERNELS)
    np.testing.assert_allclose(usam, sam, rtol=0, atol=ROUNDING)


def test_adaptive_sam_does_not_see_how_two_layers_share_a_scale():
    """L = f(w1 w2): the loss at the perturbed weights is the same for (a w1, w2 / a); SAM's not."""
    product = Net(np.ones((1, 1)), (1, 1, 1), Curved(), linear=True)

    def perturbed(rule, a):
        followed(rule, product, np.array([1.5 * a, -0.7 / a]))
        return product.loss([product.points[-1]])

    adaptive = [perturbed("asam(radius = 0.5, eta = 0)", a) for a in (1, 3, 10)]
    np.testing.assert_allclose(adaptive, adaptive[0], rtol=0, atol=ROUNDING)
    assert np.ptp([perturbed("sam(radius = 0.5)", a) for a in (1, 3, 10)]) > 0.1


def test_adaptive_sam_is_sam_where_all_weights_have_one_magnitude():
    x = 2.0 * np.sign(X)
    found = followed("asam(radius = 0.3, eta = 0.5)", Quadratic(HESSIAN), x)
    expected = followed("sam(radius = 0.75)", Quadratic(HESSIAN), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    # The tensor is not called a weight, so the variant of the authors' code leaves it alone.
    found = followed("asam_weights(radius = 0.3)", Quadratic(HESSIAN), x)
    expected = followed("sam(radius = 0.3)", Quadratic(HESSIAN), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def test_of_a_linear_model_only_the_logit_path_is_left():
    sam = followed("sam(radius = 0.5)", LINEAR, KERNELS[:9])
    for rule, same in (("functional_sam", plain(LINEAR, KERNELS[:9])), ("logit_sam", sam)):
        found = followed(f"{rule}(radius = 0.5)", LINEAR, KERNELS[:9])
        np.testing.assert_allclose(found, same, rtol=0, atol=ROUNDING)
    assert np.linalg.norm(sam - plain(LINEAR, KERNELS[:9])) > 0.01


def test_of_a_loss_that_is_linear_in_the_outputs_only_the_functional_path_is_left():
    found = followed("logit_sam(radius = 0.5)", STRAIGHT, KERNELS)
    np.testing.assert_allclose(found, plain(STRAIGHT, KERNELS), rtol=0, atol=ROUNDING)
    sam = followed("sam(radius = 0.5)", STRAIGHT, KERNELS)
    fsam = followed("functional_sam(radius = 0.5)", STRAIGHT, KERNELS)
    np.testing.assert_allclose(fsam, sam, rtol=0, atol=ROUNDING)


def test_the_two_paths_are_the_two_parts_of_the_hessian_to_first_order():
    """Each path - g = rho (its part) ehat + O(rho^2), and both together are SAM and g."""
    g = plain(DEEP, KERNELS)
    gauss_newton, rest = DEEP.matrices(KERNELS)
    along = g / np.linalg.norm(g)
    left = []
    for rho in (2e-3, 1e-3):
        sam, fsam, logit = (
            followed(f"{rule}(radius = {rho})", DEEP, KERNELS)
            for rule in ("sam", "functional_sam", "logit_sam")
        )
        errors = (
            *(fsam - g - rho * rest @ along, logit - g - rho * gauss_newton @ along),
            sam - (fsam + logit - g),
        )
        left.append([np.linalg.norm(e) for e in errors])
    # The next order adds a share of about rho; rounding is below 1e-15 / 1e-6.
    np.testing.assert_allclose(np.divide(*left), 4, rtol=0.02)


def test_a_mixture_has_the_two_paths_at_its_ends():
    fsam = followed("functional_sam(radius = 0.3)", DEEP, KERNELS)
    logit = followed("logit_sam(radius = 0.3)", DEEP, KERNELS)
    for angle in (0.0, 0.5, np.pi / 2):
        found = followed(f"angle_sam(radius = 0.3, angle = {float(angle)!r})", DEEP, KERNELS)
        expected = np.cos(angle) * fsam + np.sin(angle) * logit
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    found = followed("mixed_sam(0.3, functional = 0.2, logit = 0.7)", DEEP, KERNELS)
    np.testing.assert_allclose(found, 0.2 * fsam + 0.7 * logit, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("rule", PRECONDITIONED)
def test_preconditioned_perturbations_have_the_length_that_their_name_says(rule):
    """At a point that stays, M = |g| + eps from the second step on; at the first, M = I."""
    g = plain(DEEP, KERNELS)
    base = rule.removeprefix("preconditioned_").removesuffix("_metric")
    base = base.removesuffix("_gradient_norm")
    first = followed(f"{rule}(radius = 0.3)", DEEP, KERNELS)
    expected = followed(f"{base}(radius = 0.3)", DEEP, KERNELS)
    np.testing.assert_allclose(first, expected, rtol=0, atol=ROUNDING)
    followed(f"{rule}(radius = 0.3, eps = 0.01)", DEEP, KERNELS, steps=3)
    e, m = DEEP.points[-1] - KERNELS, np.abs(g) + 0.01
    d = g / m
    length = {
        "metric": np.sqrt(np.sum(e * m * e)),
        "norm": np.linalg.norm(e) * np.linalg.norm(g) / np.linalg.norm(d),
    }.get(rule.split("_")[-1], np.linalg.norm(e))
    assert length == pytest.approx(0.3, rel=1e-12)
    np.testing.assert_allclose(e / np.linalg.norm(e), d / np.linalg.norm(d), rtol=0, atol=1e-13)


def test_sam_in_one_of_some_steps_is_plain_in_the_others():
    sam, g = (followed(f"sam(radius = {radius})", DEEP, KERNELS) for radius in (0.3, 0))
    for steps in range(1, 5):
        found = followed("periodic_sam(0.3, period = 3)", DEEP, KERNELS, steps)
        np.testing.assert_array_equal(found, sam if steps in (1, 4) else g)


def test_look_sam_keeps_the_part_of_sam_that_is_orthogonal_to_the_gradient():
    sam, g = followed("sam(radius = 0.3)", DEEP, KERNELS), plain(DEEP, KERNELS)
    for steps in range(1, 5):
        found = followed("look_sam(0.3, alpha = 0.7, period = 3)", DEEP, KERNELS, steps)
        if steps in (1, 4):
            np.testing.assert_array_equal(found, sam)
            continue
        added = found - g
        assert abs(added @ g) < ROUNDING
        assert np.linalg.norm(added) == pytest.approx(0.7 * np.linalg.norm(g), rel=1e-12)
        across = sam - sam @ g / (g @ g) * g
        assert added @ across == pytest.approx(np.linalg.norm(added) * np.linalg.norm(across))


def test_weight_noise_on_a_quadratic_is_the_gradient_and_the_noise_times_the_hessian():
    """So the mean over noise and its opposite is the gradient: there is no third derivative."""
    noise = RNG.normal(size=3)
    found = [
        followed(
            "weight_noise(scale = 0.3)",
            Quadratic(HESSIAN),
            X,
            draw=lambda op, site, rounds, like, sign=sign: [sign * noise],
        )
        for sign in (1, -1)
    ]
    np.testing.assert_allclose(found[0], HESSIAN @ (X + 0.3 * noise), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(sum(found) / 2, HESSIAN @ X, rtol=0, atol=ROUNDING)


def test_a_normalised_step_flips_the_weights_at_its_edge():
    """At |g| the edge is |g| / (2 rho) (sqrt(1 + 8 rho / (lr |g|)) - 1): there w -> -w."""
    lr, rho = 0.1, 0.05
    for size, expected in ((10, 18.32), (1, 12.36), (0.1, 5.403), (0.01, 1.902)):
        edge = size / (2 * rho) * (np.sqrt(1 + 8 * rho / (lr * size)) - 1)
        assert edge == pytest.approx(expected, rel=5e-4)
        x = np.array([size / edge])
        step = lr * followed(f"sam(radius = {rho})", Quadratic(edge), x)
        np.testing.assert_allclose(x - step, -x, rtol=1e-12)


@pytest.mark.parametrize("net", [DEEP, LINEAR])
def test_the_gradient_penalty_is_the_sum_of_its_parts(net):
    x = KERNELS if net is DEEP else KERNELS[:9]
    whole, gauss_newton, rest = (
        followed(f"{rule}(strength = 0.3)", net, x)
        for rule in (
            *("gradient_penalty", "gradient_penalty_gauss_newton"),
            "gradient_penalty_nme",
        )
    )
    g = plain(net, x)
    along = g / np.linalg.norm(g)
    for found, part in zip((gauss_newton, rest), net.matrices(x), strict=True):
        np.testing.assert_allclose(found, g + 0.3 * part @ along, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(gauss_newton + rest - g, whole, rtol=0, atol=ROUNDING)
    if net is LINEAR:
        np.testing.assert_allclose(rest, g, rtol=0, atol=ROUNDING)


def test_the_gradient_penalty_is_the_limit_of_sam():
    """(SAM - g) / rho -> H g / |g|: halving the radius halves what is left."""
    g = plain(DEEP, KERNELS)
    limit = followed("gradient_penalty(strength = 1)", DEEP, KERNELS) - g
    left = [
        np.linalg.norm((followed(f"sam(radius = {rho})", DEEP, KERNELS) - g) / rho - limit)
        for rho in (2e-4, 1e-4)
    ]
    assert left[0] / left[1] == pytest.approx(2, rel=0.01)
