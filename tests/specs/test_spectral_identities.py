"""Probes of curvature where it is known in full: spectra, traces, Gauss-Newton and the rest."""

import numpy as np
import pytest
from interpreted import Run, stages
from probed import EXACT, Dense, drawn, probe, signs, symmetric

# ---- spectra


def test_ten_steps_of_lanczos_find_what_stands_out():
    outside = [50.0, 20.0, 10.0, -3.0]
    bulk = np.random.default_rng(1).uniform(size=296)
    spectrum = probe(Dense(symmetric([*outside, *bulk])), "spectrum(steps = 10)", draw=drawn())
    nodes = spectrum[0]
    np.testing.assert_allclose(nodes[-3:], [10, 20, 50], rtol=1e-5)
    np.testing.assert_allclose(nodes[0], -3, rtol=1e-5)


def test_a_spectrum_is_a_quadrature_of_the_operator():
    a = symmetric(np.random.default_rng(2).normal(size=12))
    v = np.random.default_rng(3).normal(size=12)
    unit = v / np.linalg.norm(v)
    calls = [f"quadrature(x => x^{k}, of = lanczos(hvp, w, 4))" for k in range(8)]
    moments = [unit @ np.linalg.matrix_power(a, k) @ unit for k in range(8)]
    found = probe(Dense(a), *calls, weights=v)
    np.testing.assert_allclose(found, moments, rtol=EXACT, atol=EXACT)


def test_extreme_eigenvalues_are_bounds_that_grow_tight():
    eigenvalues = np.random.default_rng(4).normal(size=9)
    a = Dense(symmetric(eigenvalues))
    tops = [probe(a, f"top_eigenvalue(steps = {k})", draw=drawn()) for k in (2, 4, 9)]
    lows = [probe(a, f"bottom_eigenvalue(hvp, {k})", draw=drawn()) for k in (2, 4, 9)]
    assert tops[0] < tops[1] < tops[2] + EXACT
    assert lows[0] > lows[1] > lows[2] - EXACT
    np.testing.assert_allclose(tops[2], eigenvalues.max(), rtol=EXACT)
    np.testing.assert_allclose(lows[2], eigenvalues.min(), rtol=EXACT)


def test_what_a_start_cannot_see_has_no_weight():
    a = np.diag([1.0, 1.0, 2.0, 2.0, 5.0, 5.0])
    nodes, weights = probe(Dense(a), "lanczos(hvp, w, 6)")
    seen = weights > 1e-12
    np.testing.assert_allclose(nodes[seen], [1, 2, 5], rtol=EXACT)
    np.testing.assert_allclose(weights[seen], 1 / 3, rtol=EXACT)
    assert all((nodes[~seen] > 1) & (nodes[~seen] < 5))


@pytest.mark.parametrize(
    ("hessian", "weights", "expected"),
    [(np.eye(3), np.zeros(3), 0.0), (np.zeros((3, 3)), np.ones(3), 0.0)],
    ids=["a start of zeros", "an operator of zeros"],
)
def test_nothing_has_the_spectrum_zero(hessian, weights, expected):
    nodes, mass = probe(Dense(hessian), "lanczos(hvp, w, 3)", weights=weights)
    np.testing.assert_array_equal(nodes, expected)
    np.testing.assert_allclose(mass.sum(), 1)


def test_more_steps_than_numbers_are_as_many():
    assert probe(Dense(np.diag([3.0, 1.0])), "max(lanczos(hvp, w, 7))") == pytest.approx(3)
    assert probe(Dense(np.diag([3.0, 1.0])), "lanczos(hvp, w, 7)").shape == (2, 7)


def test_power_iteration_and_lanczos_find_one_sharpness():
    a = Dense(symmetric([-1.0, 0.5, 2.0, 8.0]))
    power, top = probe(a, "sharpness(60)", "top_eigenvalue(steps = 4)", draw=drawn())
    np.testing.assert_allclose([power, top], 8.0, rtol=EXACT)


def test_preconditioned_sharpness_is_that_of_the_quotient():
    a, p = symmetric([0.3, 1.0, 4.0, 6.0]), np.array([1.0, 2.0, 5.0, 0.5])
    expected = np.linalg.eigvals(np.diag(1 / p) @ a).real.max()
    calls = [f"preconditioned_sharpness({c} * w, 4)" for c in (1, 7)]
    one, seven = probe(Dense(a), *calls, weights=p, draw=drawn())
    np.testing.assert_allclose([one, 7 * seven], expected, rtol=EXACT)


def test_the_preconditioner_of_adam_is_read_after_its_update():
    a, w = symmetric([0.5, 2.0, 3.0]), np.array([1.0, -2.0, 0.5])
    p = "(1 - 0.9^t) * (sqrt(precondition.nu / (1 - 0.999^t)) + 1e-8)"
    lines = ("precondition adam()", "tune step 0.01")
    spec = stages(*lines, f"observe preconditioned_sharpness({p}, 3) as top")
    run = Run(spec, [w], draw=drawn())
    nu = np.zeros(3)
    for t in (1, 2, 3):
        g = a @ run.weights[0]
        nu = 0.999 * nu + 0.001 * g**2
        at = (1 - 0.9**t) * (np.sqrt(nu / (1 - 0.999**t)) + 1e-8)
        expected = np.linalg.eigvals(np.diag(1 / at) @ a).real.max()
        np.testing.assert_allclose(run.ask(Dense(a)).observed["top"], expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("rule", "p", "divided"),
    [
        (
            "adam()",
            "(1 - 0.9^t) * (sqrt(precondition.nu / (1 - 0.999^t)) + 1e-8)",
            "precondition.mu",
        ),
        ("nadam()", "sqrt(precondition.nu / (1 - 0.999^t)) + 1e-8", "precondition.ahead"),
        ("rmsprop()", "sqrt(precondition.nu + 1e-8)", "g"),
        ("adagrad()", "sqrt(precondition.sum_of_squares + 1e-7)", "g"),
    ],
)
def test_the_preconditioners_of_the_docs_are_what_is_divided_by(rule, p, divided):
    lines = (
        f"precondition {rule}",
        "tune step 0.1",
        f"observe norm(({p}) * u - {divided}) as rest",
    )
    run = Run(stages(*lines), [np.array([1.0, -2.0])])
    for g in ([0.3, -1.0], [2.0, 0.1], [-0.7, 0.4]):
        assert run.step([np.array(g)]).observed["rest"] < 1e-14


# ---- traces


def test_the_trace_of_a_diagonal_is_exact_with_one_sample():
    diagonal = np.array([3.0, -1.0, 0.25, 7.0])
    found = probe(Dense(np.diag(diagonal)), "hutchinson(hvp, 1)", draw=drawn())
    np.testing.assert_allclose(found, diagonal.sum(), rtol=EXACT)


def test_hutchinson_errs_as_its_variance_says():
    a = symmetric(np.linspace(-1, 2, 16))
    spread = 2 * (np.sum(a**2) - np.sum(np.diag(a) ** 2))
    found = [probe(Dense(a), "hutchinson(hvp, 1)", draw=drawn(seed)) for seed in range(400)]
    # The variance of a sample variance of 400 is near 2 / 400 of its square: 3 of its roots.
    np.testing.assert_allclose(np.var(found), spread, rtol=0.21)
    assert abs(np.mean(found) - np.trace(a)) < 3 * np.sqrt(spread / 400)


def test_xtrace_is_nearer_than_hutchinson_where_eigenvalues_fall():
    a = symmetric(0.5 ** np.arange(40))
    calls = ("hutchinson(hvp, 16)", "xtrace(hvp, 8)")
    found = [probe(Dense(a), *calls, draw=drawn(seed)) for seed in range(12)]
    errors = np.sqrt(np.mean((np.array(found) - np.trace(a)) ** 2, axis=0))
    assert errors[1] < 0.1 * errors[0]


def test_the_trace_and_the_frobenius_norm_over_orthogonal_signs_are_exact():
    a = symmetric(np.linspace(-2, 3, 8))
    calls = ("hutchinson(hvp, 8)", "frobenius_squared(hvp, 8)")
    found = probe(Dense(a), *calls, draw=signs)
    np.testing.assert_allclose(found, [np.trace(a), np.sum(a**2)], rtol=EXACT)


# ---- Gauss-Newton and the rest


def test_the_rest_of_a_linear_net_of_two_layers_is_known():
    # f = a w x with 1/2 (f - y)^2: N = r x [[0, 1], [1, 0]], G = x^2 [[w^2, a w], [a w, a^2]].
    a, w, x, y = 0.7, -1.3, 2.0, 0.4
    r = a * w * x - y
    rest = r * x * np.array([[0.0, 1.0], [1.0, 0.0]])
    g = x**2 * np.outer([w, a], [w, a])
    top, low, trace, share = probe(
        Dense(g + rest, g),
        *("top_eigenvalue(nme, 2)", "bottom_eigenvalue(nme, 2)", "hutchinson(nme, 2)"),
        "nme_share(2)",
        draw=signs,
    )
    np.testing.assert_allclose([top, low], [abs(r * x), -abs(r * x)], rtol=EXACT)
    assert abs(trace) < EXACT
    np.testing.assert_allclose(share, np.sum(rest**2) / np.sum((g + rest) ** 2), rtol=EXACT)


def test_a_linear_model_has_no_rest():
    a = symmetric([1.0, 2.0, 3.0, 4.0])
    calls = ("nme_share(4)", "rayleigh(nme, g)", "hutchinson(nme, 4)")
    assert probe(Dense(a, a), *calls, draw=signs) == [0.0, 0.0, 0.0]


def test_the_curvature_along_a_gradient_is_the_sum_of_its_parts():
    h, g = symmetric([-1.0, 2.0, 3.0]), symmetric([0.5, 1.0, 2.0], seed=5)
    v = np.array([1.0, 2.0, -1.0])
    whole, part, rest = probe(
        Dense(h, g), "rayleigh(hvp, w)", "rayleigh(ggn, w)", "rayleigh(nme, w)", weights=v
    )
    np.testing.assert_allclose([whole, part + rest], v @ h @ v / (v @ v), rtol=EXACT)
    assert probe(Dense(h, g), "rayleigh(hvp, g)", weights=np.zeros(3)) == 0.0
