"""Probes of gradients and their noise where all is known, and edges of stability."""

import numpy as np
import pytest
from interpreted import Run, graph_of, stages
from probed import EXACT, Dense, all_alike, probe, signs, symmetric
from scipy.linalg import block_diag
from scipy.optimize import brentq

from optc.compiler.environment import Tensors
from optc.compiler.interpret import Interpreter

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
