"""What the methods are known to do exactly: closed forms, limits, and bounds on quadratics.

Everything here is float64. `ROUNDING` is some hundred roundings of 2^-53.
"""

from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from shipped import SPLIT, bits, make_batch, make_params, program, staged, trajectory

import optc

ROUNDING = 1e-13


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def quadratic(*eigenvalues):
    """0.5 x'Hx with H of these eigenvalues, turned by a rotation, and H itself."""
    rng = np.random.default_rng(5)
    turned, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))
    h = (turned * np.array(eigenvalues)) @ turned.T
    return h, optc.Objective(loss=lambda params, batch: 0.5 * params["x"] @ (h @ params["x"]))


def stepped(optimizer, x, objective, batch=None):
    """What one step takes from some weights, and its report."""
    params = {"x": jnp.asarray(x, float)}
    after, _, report = optimizer.update(params, optimizer.init(params), batch, objective)
    return np.asarray(params["x"] - after["x"]), report


def following(rule, **values):
    """A perturbation alone: its step is the gradient that it follows."""
    return staged(f"perturb {rule}", "tune step 1.0", **values)()


@cache
def directed(*stages):
    """A program with a direction that the library does not have."""
    text = """
    rule precondition newton() {
      # Of a diagonal Hessian, which is all that this is used for.
      return g / hvp(ones(w))
    }
    rule precondition times(factor) {
      return factor * g
    }
    """
    lines = "\n".join(stages)
    return optc.compile(f"{text}\noptimizer directed(factor = 1.0, scale = 1.0) {{\n{lines}\n}}")


# ---- SAM and its kin


RULES = ("sam", "functional_sam", "preconditioned_sam", "preconditioned_functional_sam")
# What `fsam`, `psam` and `pfsam` do after their first stage, their warm-up shortened.
BASE = (
    "clip global_norm(1.0)",
    "precondition adam(b1 = 0.9, b2 = 0.95)",
    "decay weights(0.1) where ndim >= 2",
    "tune step warmup_cosine(peak = 0.01, warmup = 2, total = 100)",
    "observe norm(g) as grad_norm",
)


@pytest.mark.parametrize("gradient", ["some", "zero"])
@pytest.mark.parametrize("rule", RULES)
def test_radius_zero_is_the_base_optimizer_bit_for_bit(rule, gradient):
    """Not compiled as a whole, so that equal operations give equal bits."""
    base = staged(*BASE)()
    perturbed = staged(f"perturb {rule}(radius = rho)", *BASE, rho=0.1)(rho=0.0)
    batch = make_batch(float)
    found = expected = make_params(float)
    if gradient == "zero":
        # No output is left, and the targets are what remains of it.
        batch["y"] = jnp.zeros_like(batch["y"])
        found = expected = found | {"second": jnp.zeros_like(found["second"])}
    state, base_state = perturbed.init(found), base.init(expected)
    for _ in range(2):
        found, state, report = perturbed.update(found, state, batch, SPLIT)
        expected, base_state, _ = base.update(expected, base_state, batch, SPLIT)
        assert (float(report.observed["grad_norm"]) == 0) == (gradient == "zero")
        assert bits(found) == bits(expected)
        assert np.isfinite(ravel_pytree(found)[0]).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_zero_gradient_is_not_perturbed(rule):
    """The guard of the library: the papers divide zero by zero."""
    objective = optc.Objective(outputs=lambda p, b: p["x"], loss=lambda z, b: 0.5 * jnp.sum(z**2))
    optimizer = following(f"{rule}(radius = 0.3)")
    step, _ = stepped(optimizer, np.zeros(3), objective)
    np.testing.assert_array_equal(step, 0)


def softmax_loss(logits, batch):
    picked = jnp.take_along_axis(logits, batch["label"][:, None], 1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked[:, 0])


def classify(layers):
    """A softmax classifier with these widths: its objective, weights as one vector, and batch."""
    rng = np.random.default_rng(6)
    shapes = list(pairwise(layers))
    tree = [jnp.asarray(rng.normal(size=shape)) for shape in shapes]
    x, unravel = ravel_pytree(tree)

    def outputs(params, batch):
        *hidden, last = unravel(params["x"])
        z = batch["x"]
        for kernel in hidden:
            z = jnp.tanh(z @ kernel)
        return z @ last

    batch = {
        "x": jnp.asarray(rng.normal(size=(6, layers[0]))),
        "label": jnp.asarray(rng.integers(0, layers[-1], 6)),
    }
    return optc.Objective(outputs=outputs, loss=softmax_loss), x, batch


def test_functional_sam_of_a_linear_model_is_the_plain_gradient_and_sam_is_not():
    objective, x, batch = classify((4, 3))
    plain = jax.grad(lambda x: objective.value({"x": x}, batch)[0])(x)
    fsam, _ = stepped(following("functional_sam(radius = 0.5)"), x, objective, batch)
    sam, _ = stepped(following("sam(radius = 0.5)"), x, objective, batch)
    np.testing.assert_allclose(fsam, plain, rtol=0, atol=ROUNDING)
    assert np.linalg.norm(sam - plain) > 0.01


def test_functional_sam_is_sam_where_the_loss_is_linear_in_the_outputs():
    objective, x, batch = classify((4, 3, 2))
    weights = jnp.asarray(np.random.default_rng(7).normal(size=(6, 2)))
    linear = optc.Objective(
        outputs=objective.outputs, loss=lambda outputs, batch: jnp.sum(weights * outputs)
    )
    fsam, _ = stepped(following("functional_sam(radius = 0.5)"), x, linear, batch)
    sam, _ = stepped(following("sam(radius = 0.5)"), x, linear, batch)
    np.testing.assert_allclose(fsam, sam, rtol=0, atol=ROUNDING * 10)


def test_sam_minus_functional_sam_is_the_gauss_newton_part_to_first_order():
    """h_SAM - h_FSAM = rho GN ehat + O(rho^2): halving rho quarters what is left.

    And h_FSAM - g = rho N ehat + O(rho^2), with N = H - GN.
    """
    objective, x, batch = classify((3, 4, 3))

    def outputs(x):
        return objective.outputs({"x": x}, batch).ravel()

    def head(z):
        return softmax_loss(z.reshape(6, 3), batch)

    @jax.jit
    def matrices(x):
        z, jacobian = outputs(x), jax.jacobian(outputs)(x)
        gauss_newton = jacobian.T @ jax.hessian(head)(z) @ jacobian
        return (
            jacobian.T @ jax.grad(head)(z),
            gauss_newton,
            jax.hessian(lambda x: head(outputs(x)))(x),
        )

    g, gauss_newton, hessian = matrices(x)
    along = g / jnp.linalg.norm(g)
    left = {"logit": [], "functional": []}
    for rho in (2e-3, 1e-3):
        sam, _ = stepped(following(f"sam(radius = {rho})"), x, objective, batch)
        fsam, _ = stepped(following(f"functional_sam(radius = {rho})"), x, objective, batch)
        left["logit"].append(np.linalg.norm(sam - fsam - rho * gauss_newton @ along))
        nme = hessian - gauss_newton
        left["functional"].append(np.linalg.norm(fsam - g - rho * nme @ along))
    for whole, half in left.values():
        # The next order adds a share of about rho; rounding is below 1e-15 / 1e-6.
        assert whole / half == pytest.approx(4, rel=0.02)
        assert whole < 1e-4 * np.linalg.norm(gauss_newton @ along)


def test_sam_on_a_quadratic_is_its_closed_form():
    h, objective = quadratic(3.0, 1.0, -0.5)
    x = np.array([1.0, -2.0, 0.5])
    step, _ = stepped(following("sam(radius = 0.3)"), x, objective)
    g = h @ x
    np.testing.assert_allclose(step, h @ (x + 0.3 * g / np.linalg.norm(g)), atol=ROUNDING)


def test_sam_on_an_isotropic_quadratic_bounces_at_its_radius():
    """H = c I: the gradient is c w (1 + rho / |w|), so |w| -> lr c rho / (2 - lr c)."""
    c, rho, lr = 2.0, 0.3, 0.4
    _, objective = quadratic(c, c, c)
    x = np.array([1.0, -2.0, 0.5])
    step, _ = stepped(following(f"sam(radius = {rho})"), x, objective)
    np.testing.assert_allclose(step, c * x * (1 + rho / np.linalg.norm(x)), rtol=ROUNDING)

    optimizer = program("sam")(lr=lr, rho=rho, momentum=0.0)
    found, _ = trajectory(optimizer, {"x": jnp.asarray(x)}, None, objective, 200)
    # |w| -> |(1 - lr c)|w| - lr c rho|, which contracts by 1 - lr c = 0.2 a step.
    orbit = lr * c * rho / (2 - lr * c)
    np.testing.assert_allclose(np.linalg.norm(found["x"][-2:], axis=1), orbit, rtol=1e-12)


@pytest.mark.parametrize("kind", ["sam", "functional_sam"])
def test_the_first_preconditioned_step_is_the_plain_one(kind):
    objective, x, batch = classify((3, 4, 3))
    plain, _ = stepped(following(f"{kind}(radius = 0.3)"), x, objective, batch)
    found, _ = stepped(following(f"preconditioned_{kind}(radius = 0.3)"), x, objective, batch)
    np.testing.assert_allclose(found, plain, rtol=0, atol=ROUNDING)


def test_preconditioned_sam_climbs_along_the_gradient_over_the_root_of_earlier_moments():
    """Its second step by hand: the moment is that of the first step's gradient, debiased."""
    h, objective = quadratic(3.0, 1.0, 0.5)
    first, second = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.1, -0.7])
    optimizer = following("preconditioned_sam(radius = 0.3, b2 = 0.9, eps = 1e-3)")
    params = {"x": jnp.asarray(first)}
    _, state, _ = optimizer.update(params, optimizer.init(params), None, objective)
    params = {"x": jnp.asarray(second)}
    after, state, _ = optimizer.update(params, state, None, objective)
    d = h @ second / (np.abs(h @ first) + 1e-3)
    expected = h @ (second + 0.3 * d / np.linalg.norm(d))
    np.testing.assert_allclose(second - after["x"], expected, atol=ROUNDING)
    nu = 0.9 * 0.1 * (h @ first) ** 2 + 0.1 * (h @ second) ** 2
    np.testing.assert_allclose(state.slots["perturb"]["nu"]["x"], nu, rtol=ROUNDING)


def test_gradient_penalty_is_the_gradient_of_loss_plus_gradient_norm():
    objective, x, batch = classify((3, 4, 3))

    def loss(x):
        return objective.value({"x": x}, batch)[0]

    def penalised(x):
        return loss(x) + 0.2 * jnp.linalg.norm(jax.grad(loss)(x))

    found, _ = stepped(following("gradient_penalty(strength = 0.2)"), x, objective, batch)
    np.testing.assert_allclose(found, jax.grad(penalised)(x), rtol=0, atol=ROUNDING * 10)


def test_weight_noise_takes_the_gradient_at_noisy_weights():
    """On a quadratic: H (w + noise), so the noise is found again, and it has its size."""
    n = 2000
    objective = optc.Objective(loss=lambda params, batch: jnp.sum(params["x"] ** 2))
    step, _ = stepped(following("weight_noise(scale = 0.1)"), np.ones(n), objective)
    noise = step / 2 - 1
    # The standard deviation of an estimated one is 1 / sqrt(2 n) = 0.016 of it.
    assert noise.std() == pytest.approx(0.1, rel=5 * 0.016)
    assert abs(noise.mean()) < 5 * 0.1 / np.sqrt(n)


# ---- CDAT


X = np.array([1.0, -2.0, 0.5])


def cdat_step(scale, stages=(), factor=1.0, weight=1.0, eigenvalues=(3.0, 1.0, 0.5)):
    """The loss before and after one step, its size, g'u, u'Hu and the step itself."""
    h = np.diag(eigenvalues)
    objective = optc.Objective(
        loss=lambda params, batch: weight * 0.5 * params["x"] @ (h @ params["x"])
    )
    written = directed(*stages, "tune step cdat(scale)", "observe eta as eta")
    step, report = stepped(written(scale=scale, factor=factor), X, objective)
    eta = float(report.observed["eta"])
    u = step / eta if eta else None
    g = weight * h @ X
    change = weight * 0.5 * ((X - step) @ h @ (X - step) - X @ h @ X)
    return change, eta, step, u, g, weight * h


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5, 2.0, 2.0625])
def test_cdat_changes_a_quadratic_by_its_formula(scale):
    """-(s - s^2 / 2) (g'u)^2 / (u'Hu): nothing at s = 2, and the most at s = 1."""
    change, eta, _, u, g, h = cdat_step(scale)
    expected = -(scale - scale**2 / 2) * (g @ u) ** 2 / (u @ h @ u)
    # eps = 1e-12 in the denominator, which is about 28.
    np.testing.assert_allclose(change, expected, atol=1e-12)
    np.testing.assert_allclose(eta, scale * (g @ u) / (u @ h @ u), rtol=1e-12)


def test_cdat_with_scale_1_is_the_exact_line_search():
    _, eta, _, u, _, h = cdat_step(1.0)
    along = [0.5 * (X - s * u) @ h @ (X - s * u) for s in (eta - 1e-3, eta, eta + 1e-3)]
    assert along[1] < min(along[0], along[2])
    assert 1 / 3.0 <= eta <= 1 / 0.5, "between 1 / lmax and 1 / lmin"


@pytest.mark.parametrize("scale", [0.7, 2.0])
def test_cdat_with_the_newton_direction_steps_by_its_scale(scale):
    _, eta, _, _, _, _ = cdat_step(scale, ("precondition newton()",))
    np.testing.assert_allclose(eta, scale, rtol=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e3])
def test_cdat_does_not_see_the_length_of_the_direction_nor_the_scale_of_the_loss(factor):
    stages = ("precondition times(factor)",)
    _, eta, step, _, _, _ = cdat_step(1.5, stages)
    _, longer, same, _, _, _ = cdat_step(1.5, stages, factor=factor)
    # The curvature of the shortest direction is 3e-5, where eps = 1e-12 counts 4e-8.
    np.testing.assert_allclose(longer * factor, eta, rtol=1e-7)
    np.testing.assert_allclose(same, step, rtol=1e-7)
    _, steeper, same, _, _, _ = cdat_step(1.5, stages, weight=factor)
    np.testing.assert_allclose(steeper * factor, eta, rtol=1e-3 if factor < 1 else 1e-7)
    np.testing.assert_allclose(same, step, rtol=1e-3 if factor < 1 else 1e-7)


def test_cdat_does_not_move_along_a_direction_that_ascends():
    _, eta, step, _, _, _ = cdat_step(2.0, ("precondition times(factor)",), factor=-1.0)
    assert eta == 0
    np.testing.assert_array_equal(step, 0)


def test_cdat_takes_negative_curvature_by_its_size():
    _, down, _, _, g, h = cdat_step(1.0, eigenvalues=(-3.0, -1.0, -0.5))
    np.testing.assert_allclose(down, (g @ g) / abs(g @ h @ g), rtol=1e-12)


def test_cdat_averages_slope_and_curvature_apart():
    """With beta the ratio of two averages, whose bias cancels: on one mode it is scale / lambda."""
    _, objective = quadratic(4.0)
    optimizer = program("cdat_gd")(scale=0.5, beta=0.9)
    _, report = trajectory(optimizer, {"x": jnp.ones(1)}, None, objective, 10)
    np.testing.assert_allclose(report.observed["step_size"], 0.5 / 4.0, rtol=1e-9)


def test_cdat_has_a_limit():
    _, objective = quadratic(1e-3, 1e-3)
    optimizer = program("cdat_adam")(max_step=0.25)
    _, report = stepped(optimizer, np.ones(2), objective)
    assert float(report.observed["step_size"]) == 0.25


# ---- line search and Polyak


def effective(h, xs, etas):
    """eta u'Hu / g'u of each step of gradient descent: 1 is the exact search, 2 leaves the loss."""
    g = xs @ h
    return etas * np.einsum("ti,ij,tj->t", g, h, g) / np.einsum("ti,ti->t", g, g)


@pytest.mark.parametrize("c", [1e-4, 0.1, 0.5])
def test_armijo_accepts_up_to_twice_one_minus_c(c):
    """It accepts iff sigma_eff <= 2 (1 - c); after backtracking it is above `shrink` times that."""
    h, objective = quadratic(3.0, 1.0, 0.5)
    shrink, grow, most, steps = 0.8, 1.5, 100.0, 40
    written = staged(
        f"tune step armijo(c = c, max_step = {most}, shrink = {shrink}, grow = {grow})",
        "observe eta as eta",
        c=0.5,
    )
    after, report = trajectory(written(c=c), {"x": jnp.asarray(X)}, None, objective, steps)
    xs = np.vstack([X, after["x"][:-1]])
    etas = np.asarray(report.observed["eta"])
    sigma = effective(h, xs, etas)
    guesses = np.minimum(np.append(1.0, grow * etas[:-1]), most)
    bound = 2 * (1 - c)

    # The loss is a difference of numbers of its own size: 1e-9 is ample while it is above 1e-6.
    assert (sigma <= bound * (1 + 1e-9)).all()
    backtracked = etas < guesses * (1 - 1e-9)
    assert backtracked.any()
    assert (sigma[backtracked] > shrink * bound * (1 - 1e-9)).all()
    # A guess that satisfies the bound is taken as it is.
    refused = effective(h, xs, guesses) > bound
    np.testing.assert_array_equal(backtracked, refused)
    # Each step is its guess shrunk a whole number of times.
    times = np.log(etas / guesses) / np.log(shrink)
    np.testing.assert_allclose(times, times.round(), atol=1e-9)


def test_armijo_starts_with_its_start_grows_and_is_capped():
    _, objective = quadratic(0.1, 0.1)
    written = staged("tune step armijo(start = 1, grow = 1.5, max_step = 3)", "observe eta as eta")
    _, report = trajectory(written(), {"x": jnp.ones(2)}, None, objective, 5)
    np.testing.assert_allclose(report.observed["eta"], [1, 1.5, 2.25, 3, 3], rtol=ROUNDING)


def test_armijo_refuses_a_loss_that_is_not_finite():
    """log(x - 1) has no value below 1: the first step into there is shrunk until it is out."""
    objective = optc.Objective(loss=lambda params, batch: -jnp.sum(jnp.log(params["x"] - 1)) * -1.0)
    x = np.array([1.5])
    step, report = stepped(program("armijo_gd")(), x, objective)
    assert x - step > 1
    assert np.isfinite(report.loss)
    assert 0 < float(report.observed["step_size"]) < 1


def test_polyak_halves_an_isotropic_quadratic():
    """eta = 1 / (2 lambda): 14 -> 3.5 -> 0.875 -> 0.21875 for the sum of squares of (1, 2, 3)."""
    objective = optc.Objective(loss=lambda params, batch: 2.0 * jnp.sum(params["x"] ** 2))
    x = jnp.array([1.0, 2.0, 3.0])
    found, report = trajectory(program("polyak_sgd")(), {"x": x}, None, objective, 3)
    np.testing.assert_allclose(report.observed["step_size"], 1 / (2 * 4.0), rtol=ROUNDING)
    np.testing.assert_allclose(np.sum(found["x"] ** 2, axis=1), [3.5, 0.875, 0.21875])


def test_polyak_reaches_the_kink_in_one_step():
    objective = optc.Objective(loss=lambda params, batch: jnp.abs(params["x"]).sum())
    step, _ = stepped(program("polyak_sgd")(max_step=100.0), np.array([3.7]), objective)
    np.testing.assert_allclose(step, 3.7, rtol=ROUNDING)


def test_polyak_knows_a_loss_times_and_plus_a_constant():
    h, objective = quadratic(3.0, 1.0, 0.5)
    shifted = optc.Objective(loss=lambda p, b: 4 * objective.loss(p, b) + 7)
    optimizer = program("polyak_sgd")
    step, report = stepped(optimizer(), X, objective)
    same, quarter = stepped(optimizer(f_min=7.0), X, shifted)
    np.testing.assert_allclose(same, step, rtol=1e-12)
    eta = 0.5 * X @ h @ X / (X @ h @ h @ X)
    np.testing.assert_allclose(report.observed["step_size"], eta, rtol=1e-12)
    np.testing.assert_allclose(quarter.observed["step_size"], eta / 4, rtol=1e-12)


# ---- sharpness, averages


@pytest.mark.parametrize("eigenvalues", [(4.0, 1.0, -2.0), (-5.0, 2.0, 1.0), (0.0, 0.0, 0.0)])
def test_sharpness_is_the_eigenvalue_of_largest_magnitude(eigenvalues):
    _, objective = quadratic(*eigenvalues)
    optimizer = staged("tune step 0.0", "observe sharpness(iterations = 40) as top")()
    _, report = stepped(optimizer, X, objective)
    top = max(eigenvalues, key=abs)
    # Power iteration leaves (l2 / l1)^(2 * 39) <= 2^-78.
    np.testing.assert_allclose(report.observed["top"], top, rtol=1e-12, atol=1e-12)


def test_ema_evaluates_with_the_debiased_average_of_the_weights():
    h, objective = quadratic(3.0, 1.0, 0.5)
    optimizer = staged("tune step 0.1", "average ema(decay = 0.7)")()
    params = {"x": jnp.asarray(X)}
    state, weights = optimizer.init(params), []
    for _ in range(4):
        params, state, _ = optimizer.update(params, state, None, objective)
        weights.append(np.asarray(params["x"]))
    np.testing.assert_allclose(weights[0], X - 0.1 * h @ X, rtol=ROUNDING)
    shares = 0.3 * 0.7 ** np.arange(3, -1, -1.0)
    expected = shares @ np.stack(weights) / shares.sum()
    found = optimizer.evaluation_params(params, state)["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_schedule_free_is_its_three_equations():
    """z by the base step from the gradient at y, x the mean of all z, y between them."""
    h, objective = quadratic(3.0, 1.0, 0.5)
    optimizer = staged("tune step 0.1", "average schedule_free(beta = 0.8)")()
    params = {"x": jnp.asarray(X)}
    state = optimizer.init(params)
    z = x = y = X
    for t in range(1, 6):
        params, state, _ = optimizer.update(params, state, None, objective)
        z = z - 0.1 * h @ y
        x = (1 - 1 / t) * x + z / t
        y = (1 - 0.8) * z + 0.8 * x
        np.testing.assert_allclose(params["x"], y, atol=ROUNDING)
        np.testing.assert_allclose(
            optimizer.evaluation_params(params, state)["x"], x, atol=ROUNDING
        )
