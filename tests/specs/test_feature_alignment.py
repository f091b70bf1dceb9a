"""Neural feature alignment of each layer, against derivatives in hand-written taps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interpreted import Run, stages

from optc import Objective
from optc.api.programs import run as execute
from optc.compiler import driver
from optc.compiler.locate import Located
from optc.grammar.source import Source

SPEC = stages(
    "tune step 0.1",
    "observe neural_feature_alignment(64) as plain",
    "observe neural_feature_alignment(64, 0.5, pearson = true) as rooted",
    "observe centred_feature_alignment(64, pearson = true) as centred",
)
N, PLACES, INPUTS, OUTPUTS = 5, 3, 4, 2
SHAPES = {
    "a": (INPUTS, 6),
    "b": (6,),
    "c": (2, 3, 6),
    "d": (3, 6, 5),
    "e": (5, 5),
    "f": (OUTPUTS, 5),
}
UNITS = {"a": (1,), "c": (0, 1), "d": (2,), "f": (0,)}
"""The axes of each kernel that its layer hands on; `e` is multiplied from both sides."""


def forward(params, x, taps):
    """Kernels of either layout and of more axes, also in a checkpoint, for each place of a row."""
    hidden = jnp.tanh(x @ params["a"] + params["b"] + taps[0])
    heads = jax.checkpoint(lambda c, x: jnp.tanh(jnp.einsum("pi,hui->phu", x, c) + taps[1]))
    row = heads(params["c"], hidden).reshape(1, PLACES, 6)
    layout = ("NWC", "WIO", "NWC")
    row = jax.lax.conv_general_dilated(row, params["d"], (1,), "SAME", dimension_numbers=layout)
    hidden = jnp.tanh(row[0] + taps[2])
    hidden = hidden + jnp.tanh(hidden @ params["e"]) @ params["e"].T
    return (hidden @ params["f"].T + taps[3]).mean(axis=0)


def problem():
    random = np.random.default_rng(0)
    params = {name: random.normal(size=shape) for name, shape in SHAPES.items()}
    x, y = random.normal(size=(N, PLACES, INPUTS)), random.normal(size=(N, OUTPUTS))
    return params, (x, y)


def outputs(params, batch):
    zeros = (0.0, 0.0, 0.0, 0.0)
    return jax.vmap(lambda x: forward(params, x, zeros))(batch[0])


def loss(outputs, batch):
    return jnp.mean(jnp.sum((outputs - batch[1]) ** 2, axis=-1)) / 2


@jax.jit
def jacobians(params, batch):
    """For each kernel the derivative of the outputs in its product, by taps."""
    shapes = ((PLACES, 6), (PLACES, 2, 3), (PLACES, 5), (PLACES, OUTPUTS))
    taps = tuple(jnp.zeros(shape) for shape in shapes)
    return jax.vmap(lambda x: jax.jacobian(lambda t: forward(params, x, t))(taps))(batch[0])


def moments(params, batch):
    """Their second moments: sums over outputs, means over examples and places."""
    found = []
    for one in jacobians(params, batch):
        rows = np.asarray(one).reshape(N * OUTPUTS * PLACES, -1)
        found.append(rows.T @ rows / (N * PLACES))
    return dict(zip("acdf", found, strict=True))


class Layers:
    """What the interpreter asks: the moments, and which axes of the kernels are units."""

    def __init__(self, params, batch):
        self.found = moments(params, batch)
        self.gradient = jax.jit(jax.grad(lambda p: loss(outputs(p, batch), batch)))(params)

    def loss(self, at):
        return 0.0

    def grad(self, at):
        return [np.asarray(self.gradient[name]) for name in SHAPES]

    def feature_covariance(self, at):
        return [(self.found[k], UNITS[k]) if k in UNITS else None for k in SHAPES]


@pytest.mark.parametrize("slices", [1, 5])
def test_each_layer_is_found_and_aligned_as_by_hand(slices):
    with jax.enable_x64(True):
        params, batch = problem()
        optimizer = execute(driver.compile_spec(Located(Source("<test>", SPEC), None)))()
        objective = Objective(outputs=outputs, loss=loss, batch_axis=0, micro_batches=slices)
        run = Run(SPEC, [params[k] for k in SHAPES], paths=SHAPES)
        state = optimizer.init(params)
        for step in range(2):
            expected = run.ask(Layers(params, batch)).observed
            params, state, report = optimizer.step(params, state, batch, objective)
            for name, values in expected.items():
                # The root of a matrix in float64 has half of its digits.
                np.testing.assert_allclose(
                    [report.observed[name][k] for k in SHAPES],
                    [values[k] for k in SHAPES],
                    rtol=1e-6 if name == "rooted" else 1e-9,
                )
                assert np.isnan([values["b"], values["e"]]).all()
            assert np.isnan(expected["centred"]["a"]) == (step == 0)


class Alone(Layers):
    """One layer, of which the moment is known."""

    def __init__(self, moment):
        self.moment = moment

    def grad(self, at):
        return [0 * at[0]]

    def feature_covariance(self, at):
        return [(self.moment, (0,))]


def aligned(call, matrix, moment):
    run = Run(stages("tune step 0.0", f"observe {call} as plain"), [matrix], paths="a")
    return run.ask(Alone(moment)).observed["plain"]["a"]


@pytest.mark.parametrize("layers", [2, 3])
def test_a_balanced_linear_network_is_aligned_by_the_root(layers):
    # The average outer product of gradients at the first layer is (W'W)^layers.
    random = np.random.default_rng(1)
    q, _ = np.linalg.qr(random.normal(size=(4, 4)))
    singular = np.array([2.0, 1.0, 0.5, 0.25])
    first, after = np.diag(singular) @ q, np.diag(singular ** (2 * layers - 2))
    power = 2 * layers
    cosine = np.sum(singular ** (2 + power)) / np.sqrt(
        np.sum(singular**4) * np.sum(singular ** (2 * power))
    )
    for call, expected in (
        ("neural_feature_alignment()", cosine),
        (f"neural_feature_alignment(power = 1 / {layers})", 1.0),
        (f"neural_feature_alignment(power = 1 / {layers}, pearson = true)", 1.0),
    ):
        np.testing.assert_allclose(aligned(call, first, after), expected, rtol=1e-12)


def test_alignment_knows_no_scale_and_no_rotation_of_the_inputs():
    random = np.random.default_rng(2)
    matrix, root = random.normal(size=(3, 5)), random.normal(size=(3, 3))
    q, _ = np.linalg.qr(random.normal(size=(5, 5)))
    found = [
        aligned("neural_feature_alignment()", x, root @ root.T)
        for x in (matrix, 7 * matrix, matrix @ q)
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


def test_one_step_on_one_example_aligns_what_it_changed():
    # It changes a matrix by an outer product: both of the centred pair have rank one.
    random = np.random.default_rng(3)
    change = np.outer(random.normal(size=3), random.normal(size=5))
    root = random.normal(size=(3, 3))
    found = aligned("feature_alignment(w, 8, 1, false)", change, root @ root.T)
    np.testing.assert_allclose(found, 1.0, rtol=1e-12)
