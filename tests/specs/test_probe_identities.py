"""Probes on problems whose curvature and noise are known in full: exact to rounding.

The random fields are handed in. Where they are an orthogonal set of signs, the mean of z'Az over
them is the trace itself; where a start is the sum of the eigenvectors, each eigenvalue has the same
weight, and the quadrature over all of them is exact.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
from interpreted import Run, graph_of, stages
from scipy.linalg import block_diag, hadamard
from scipy.optimize import brentq

from optc.compiler.interpret import Interpreter, Tensors

EXACT = 1e-10
"""A few dozen products in float64, and an eigenvalue problem of the size of the test."""


@dataclass
class Dense:
    """An objective of one tensor with a Hessian, a Gauss-Newton matrix and examples' gradients."""

    hessian: np.ndarray
    gauss_newton: np.ndarray | None = None
    examples: np.ndarray | None = None
    height: float = 0.0
    asked: list[str] = field(default_factory=list)

    def loss(self, at):
        return self.height

    def grad(self, at):
        if self.examples is not None:
            return [self.examples.mean(axis=0)]
        return [self.hessian @ at[0]]

    def hvp(self, at, vector):
        self.asked.append("hvp")
        return [self.hessian @ vector[0]]

    def ggn(self, at, vector):
        self.asked.append("ggn")
        return [self.gauss_newton @ vector[0]]

    def per_example_grad(self, at):
        self.asked.append("per_example_grad")
        return [[row] for row in self.examples]


def probe(objective, *calls, weights=None, draw=None):
    """What some expressions are on an objective, at weights that are ones if none are given."""
    lines = [f"observe {call} as value{i}" for i, call in enumerate(calls)]
    size = (objective.hessian if objective.hessian is not None else objective.gauss_newton).shape[0]
    weights = np.ones(size) if weights is None else weights
    run = Run(stages("tune step 0.0", *lines), [weights], draw=draw)
    found = run.ask(objective).observed
    values = [found[f"value{i}"] for i in range(len(calls))]
    return values[0] if len(calls) == 1 else values


def signs(op, site, rounds, like):
    """The rows of a Hadamard matrix, one for each round of the innermost loop."""
    if op != "rademacher":
        return drawn()(op, site, rounds, like)
    size = np.size(like[0])
    return [hadamard(size)[rounds[-1] % size].astype(float)]


def all_alike(op, site, rounds, like):
    return [np.ones_like(like[0])]


def drawn(seed=0):
    def draw(op, site, rounds, like):
        source = np.random.default_rng((seed, site, *rounds))
        shape = np.shape(like[0])
        return [
            source.choice([-1.0, 1.0], shape) if op == "rademacher" else source.normal(size=shape)
        ]

    return draw


def symmetric(eigenvalues, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return q @ np.diag(eigenvalues) @ q.T


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


# ---- the stochastic edge


BATCH = 4


def kernel(eigenvalues, eta, momentum=0.0, fraction=0.25, call="noise_kernel"):
    """The noise kernel of a diagonal Gauss-Newton matrix, each eigenvalue with its own weight."""
    g = np.diag(eigenvalues)
    objective = Dense(g, g, np.ones((BATCH, len(eigenvalues))))
    more = f"samples = {1 if call == 'noise_kernel' else len(eigenvalues)}"
    more += f", steps = {len(eigenvalues)}" if call == "noise_kernel" else ""
    draw = all_alike if call == "noise_kernel" else signs
    return probe(objective, f"{call}({eta}, {momentum}, {fraction}, {more})", draw=draw)


def radius(eigenvalues, eta, momentum, fraction):
    """The spectral radius of the second moments of place and velocity under SGD."""
    blocks, size = [], len(eigenvalues)
    for x in eigenvalues:
        # velocity' = m velocity + x place + noise, place' = place - eta velocity'.
        step = np.array([[1 - eta * x, -eta * momentum], [x, momentum]])
        blocks.append(np.kron(step, step))
    matrix = block_diag(*blocks)
    noise = np.kron([-eta, 1.0], [-eta, 1.0])
    places = np.zeros(4 * size)
    places[::4] = 1.0
    for i, x in enumerate(eigenvalues):
        matrix[4 * i : 4 * i + 4] += (1 - fraction) / BATCH * x**2 * np.outer(noise, places)
    return np.abs(np.linalg.eigvals(matrix)).max()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_noise_kernel_is_one_where_sgd_loses_its_stability(momentum):
    eigenvalues = [0.3, 0.7, 1.1, 1.9, 2.3]
    edge = 2 * (1 + momentum) / max(eigenvalues)

    def beyond(eta):
        return radius(eigenvalues, eta, momentum, 0.25) - 1

    eta = brentq(beyond, 0.02 * edge, 0.98 * edge, xtol=1e-14)
    np.testing.assert_allclose(kernel(eigenvalues, eta, momentum), 1.0, rtol=1e-8)


def test_the_noise_kernel_of_the_identity_and_at_its_limits():
    eta, same = 0.5, [1.0] * 4
    expected = eta * 0.75 * 4 / (BATCH * (2 - eta))
    np.testing.assert_allclose(kernel(same, eta), expected, rtol=EXACT)
    assert kernel(same, eta, fraction=1.0) == 0.0
    assert kernel([1.0, 2.0], 1.0) == np.inf


def test_the_trace_bounds_the_noise_kernel():
    eigenvalues = [0.3, 0.7, 1.1, 1.9]
    for eta, near in ((1e-3, True), (0.5, False)):
        k = kernel(eigenvalues, eta)
        bound = kernel(eigenvalues, eta, call="noise_kernel_bound")
        assert bound < k
        assert (k < 1.01 * bound) == near


# ---- the noise of gradients


def data(seed=0, examples=6, size=8):
    random = np.random.default_rng(seed)
    rows, rest = random.normal(size=(examples, size)), random.normal(size=examples)
    g = rows.T @ rows / examples
    return Dense(g, g, rest[:, None] * rows, 0.5 * np.mean(rest**2))


def test_noise_alignment_is_the_ratio_of_dense_traces():
    objective = data()
    g, examples = objective.gauss_newton, objective.examples
    mean = examples.mean(axis=0)
    moment = examples.T @ examples / len(examples)
    below = 2 * objective.height * np.sum(g**2)
    expected = [np.trace((moment - np.outer(mean, mean)) @ g) / below, np.trace(moment @ g) / below]
    calls = ("noise_alignment(8)", "noise_alignment(8, centred = false)")
    np.testing.assert_allclose(probe(objective, *calls, draw=signs), expected, rtol=EXACT)


def test_noise_alignment_of_one_example_is_none_or_full():
    calls = ("noise_alignment(8)", "noise_alignment(8, centred = false)")
    found = probe(data(examples=1), *calls, draw=signs)
    np.testing.assert_allclose(found, [0.0, 1.0], atol=EXACT)


def test_the_noise_scale_is_the_ratio_of_unbiased_estimates():
    objective = data()
    examples, many = objective.examples, len(objective.examples)
    mean = examples.mean(axis=0)
    noise = np.sum((examples - mean) ** 2) / (many - 1)
    signal = mean @ mean - noise / many
    found = probe(objective, "gradient_noise_scale(0)")
    np.testing.assert_allclose(found, noise / signal, rtol=EXACT)


def test_the_noise_scale_averages_its_parts_and_not_itself():
    run = Run(stages("tune step 0.0", "observe gradient_noise_scale(0.75) as b"), [np.ones(8)])
    parts = []
    for seed in (1, 2, 3):
        objective = data(seed)
        found = run.ask(objective).observed["b"]
        examples, many = objective.examples, len(objective.examples)
        mean = examples.mean(axis=0)
        noise = np.sum((examples - mean) ** 2) / (many - 1)
        parts.append((noise, mean @ mean - noise / many))
        weights = 0.75 ** np.arange(len(parts))[::-1]
        above, below = weights @ np.array(parts)
        np.testing.assert_allclose(found, above / below, rtol=EXACT)


def test_the_noise_scale_of_a_tensor_is_that_of_its_own_numbers():
    examples = data().examples

    class Two(Dense):
        def per_example_grad(self, at):
            return [[row[:3], row[3:]] for row in examples]

        def grad(self, at):
            return [examples.mean(axis=0)[:3], examples.mean(axis=0)[3:]]

    run = Run(
        stages("tune step 0.0", "observe noise_scale_per_tensor(0.5) as b"),
        [np.ones(3), np.ones(5)],
        paths=["a", "b"],
    )
    for _ in range(2):
        found = run.ask(Two(np.eye(8))).observed["b"]
    for part, value in zip((examples[:, :3], examples[:, 3:]), found.values(), strict=True):
        expected = probe(Dense(np.eye(part.shape[1]), None, part), "gradient_noise_scale(0)")
        np.testing.assert_allclose(value, expected, rtol=EXACT)


def test_batch_sharpness_is_a_ratio_of_means():
    run = Run(stages("tune step 0.0", "observe batch_sharpness(0.5) as b"), [np.ones(3)])
    above = below = 0.0
    for seed in (1, 2, 3):
        h, g = symmetric([0.5, 1.0, 3.0], seed), np.random.default_rng(seed).normal(size=3)
        found = run.ask(Dense(h, None, g[None])).observed["b"]
        above, below = 0.5 * (above + g @ h @ g), 0.5 * (below + g @ g)
        np.testing.assert_allclose(found, above / below, rtol=EXACT)


def test_the_estimates_of_the_noise_scale_have_no_bias():
    # Over every batch of two of four gradients, drawn with replacement.
    gradients = np.random.default_rng(7).normal(size=(4, 3))
    mean = gradients.mean(axis=0)
    covariance = np.mean(np.sum((gradients - mean) ** 2, axis=1))
    small = [x @ x for x in gradients]
    large = [np.sum(((x + y) / 2) ** 2) for x in gradients for y in gradients]
    spec = stages(
        "tune step 0.0", f"observe noise_scale({np.mean(small)}, {np.mean(large)}, 1, 2) as b"
    )
    found = Run(spec, [np.ones(1)]).step([np.ones(1)]).observed["b"]
    np.testing.assert_allclose(found, covariance / (mean @ mean), rtol=EXACT)


def test_the_critical_batch_size_is_that_of_the_quadratic():
    objective = data()
    examples, h = objective.examples, objective.hessian
    mean, many = examples.mean(axis=0), len(examples)
    noise = np.trace(h @ np.cov(examples.T))
    found = probe(objective, "critical_batch_size(8)", draw=signs)
    np.testing.assert_allclose(found, noise / (mean @ h @ mean - noise / many), rtol=EXACT)
    plain = Dense(np.eye(8), None, examples)
    found, same = probe(plain, "critical_batch_size(8, 0)", "gradient_noise_scale(0)", draw=signs)
    np.testing.assert_allclose(found, same, rtol=EXACT)


def test_the_parts_of_the_critical_batch_size_have_no_bias():
    # Their means over every batch of two of four gradients, drawn with replacement.
    gradients = np.random.default_rng(7).normal(size=(4, 4))
    h = symmetric([0.5, 1.0, 2.0, 3.0])
    mean = gradients.mean(axis=0)
    expected = np.trace(h @ np.cov(gradients.T, bias=True)) / (mean @ h @ mean)
    spec = stages("tune step 0.0", "observe critical_batch_size(4, 0) as b")
    parts = []
    for one in gradients:
        for other in gradients:
            run = Run(spec, [np.ones(4)], draw=signs)
            run.ask(Dense(h, None, np.stack([one, other])))
            parts.append([float(run.slot(name)) for name in ("noise", "signal")])
    above, below = np.mean(parts, axis=0)
    np.testing.assert_allclose(above / below, expected, rtol=EXACT)


# ---- directions


def test_angles_and_sizes_are_over_all_or_for_each_tensor():
    calls = (
        *("cosine(g, w)", "cosine_per_tensor(g, w)", "relative_size(g, w)"),
        *("relative_size_per_tensor(g, w)", "relative_size(w, 0 * w)"),
    )
    lines = [f"observe {call} as value{i}" for i, call in enumerate(calls)]
    weights = [np.array([3.0, 4.0]), np.array([0.0, 0.0])]
    run = Run(stages("tune step 0.0", *lines), weights, paths=["a", "b"])
    found = list(run.step([np.array([-3.0, -4.0]), np.array([12.0, 0.0])]).observed.values())
    np.testing.assert_allclose(found[0], -5 / 13)
    assert found[1] == {"a": pytest.approx(-1), "b": 0.0}
    np.testing.assert_allclose(found[2], 13 / 5)
    assert found[3] == {"a": pytest.approx(1), "b": 0.0}
    assert found[4] == 0.0


def test_a_probe_asks_nothing_at_the_steps_between():
    calls = ("top_eigenvalue(steps = 3)", "hutchinson(ggn, 2)", "gradient_noise_scale()")
    lines = [f"observe {call} as value{i} every 3" for i, call in enumerate(calls)]
    run = Run(stages("tune step 0.0", *lines), [np.ones(8)], draw=signs)
    counts = []
    for _ in range(4):
        objective = data()
        run.ask(objective)
        counts.append(len(objective.asked))
    assert counts[0] == counts[3] >= 6
    assert counts[1:3] == [0, 0]


# ---- edges of stability


EMA = "rule precondition ema(b) { state m = zeros(g)  m <- b * m + (1 - b) * g  return m }\n"
EMA += """rule precondition nesterov_ema(b) {
  state m = zeros(g)  m <- b * m + (1 - b) * g  return b * m + (1 - b) * g
}
"""


@pytest.mark.parametrize(
    ("rule", "edge"),
    [
        ("identity()", 2.0),
        ("momentum(0.9)", 3.8),
        ("ema(0.9)", 38.0),
        ("nesterov(0.9)", 3.8 / 2.8),
        ("nesterov_ema(0.9)", 38 / 2.8),
    ],
)
def test_each_momentum_has_its_edge_of_stability(rule, edge):
    graph = graph_of(EMA + stages(f"precondition {rule}", "tune step 1.0"))
    runner = Interpreter(graph, Tensors(["w"], ["float64"]), {})
    start = runner.start([np.zeros(1)])

    def radius(curvature):
        runner.oracles = Dense(np.array([[curvature]]))
        columns = []
        for place in range(1 + len(start)):
            state = [np.array([float(place == i)]) for i in range(1 + len(start))]
            after = runner.step(state[:1], [[x] for x in state[1:]], 5)
            columns.append([after.weights[0][0], *(slot[0][0] for slot in after.slots)])
        return np.abs(np.linalg.eigvals(np.array(columns).T)).max()

    found = brentq(lambda x: radius(x) - 1 - 1e-12, 0.5 * edge, 1.5 * edge, xtol=1e-13)
    np.testing.assert_allclose(found, edge, rtol=1e-8)
