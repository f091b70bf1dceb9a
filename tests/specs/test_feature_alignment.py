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
    "observe centred_feature_alignment(64) as centred",
)
N, INPUTS, UNITS, OUTPUTS = 5, 4, 6, 3


def forward(params, x, taps):
    """Kernels of both layouts, and one for each place of a sequence."""
    hidden = jnp.tanh(x @ params["a"] + params["b"] + taps[0])
    hidden = jnp.tanh(hidden @ params["c"].T + taps[1])
    return (hidden @ params["d"] + taps[2]).mean(axis=0)


def problem():
    random = np.random.default_rng(0)
    shapes = {"a": (INPUTS, UNITS), "b": (UNITS,), "c": (7, UNITS), "d": (7, OUTPUTS)}
    params = {name: random.normal(size=shape) for name, shape in shapes.items()}
    x, y = random.normal(size=(N, 2, INPUTS)), random.normal(size=(N, OUTPUTS))
    return params, (x, y)


def outputs(params, batch):
    zeros = (0.0, 0.0, 0.0)
    return jax.vmap(lambda x: forward(params, x, zeros))(batch[0])


def loss(outputs, batch):
    return jnp.mean(jnp.sum((outputs - batch[1]) ** 2, axis=-1)) / 2


@jax.jit
def gradient(params, batch):
    return jax.grad(lambda p: loss(outputs(p, batch), batch))(params)


@jax.jit
def moments(params, batch):
    """For each kernel the second moment of the outputs' derivative in its product, by taps."""
    sizes = {"a": UNITS, "c": 7, "d": OUTPUTS}
    taps = tuple(jnp.zeros((2, size)) for size in sizes.values())
    each = jax.vmap(lambda x: jax.jacobian(lambda t: forward(params, x, t))(taps))(batch[0])
    rows = [one.reshape(-1, size) for one, size in zip(each, sizes.values(), strict=True)]
    return {name: r.T @ r / (N * 2) for name, r in zip(sizes, rows, strict=True)}


class Layers:
    """What the interpreter asks: the moments, and which kernels have their units as columns."""

    def __init__(self, params, batch):
        self.found = {k: np.asarray(x) for k, x in moments(params, batch).items()}
        self.gradient = gradient(params, batch)

    def loss(self, at):
        return 0.0

    def grad(self, at):
        return [np.asarray(self.gradient[name]) for name in "abcd"]

    def feature_covariance(self, at):
        columns = {"a": True, "c": False, "d": True}
        return [(self.found[k], columns[k]) if k in columns else None for k in "abcd"]


@pytest.mark.parametrize("slices", [1, 5])
def test_each_layer_is_found_and_aligned_as_by_hand(slices):
    with jax.enable_x64(True):
        params, batch = problem()
        optimizer = execute(driver.compile_spec(Located(Source("<test>", SPEC), None)))()
        objective = Objective(outputs=outputs, loss=loss, batch_axis=0, micro_batches=slices)
        run = Run(SPEC, [params[k] for k in "abcd"], paths="abcd")
        state = optimizer.init(params)
        for step in range(2):
            expected = run.ask(Layers(params, batch)).observed
            params, state, report = optimizer.step(params, state, batch, objective)
            for name, values in expected.items():
                np.testing.assert_allclose(
                    [report.observed[name][k] for k in "abcd"],
                    [values[k] for k in "abcd"],
                    rtol=1e-9,
                )
                assert np.isnan(values["b"])
            assert np.isnan(expected["centred"]["a"]) == (step == 0)


def test_a_balanced_linear_network_is_aligned_by_the_root():
    # Two balanced layers: the average outer product of gradients is the square of W'W.
    random = np.random.default_rng(1)
    q, _ = np.linalg.qr(random.normal(size=(4, 4)))
    singular = np.array([2.0, 1.0, 0.5, 0.25])
    first, second = np.diag(singular) @ q, np.diag(singular)

    class Balanced(Layers):
        def __init__(self):
            self.found = {"a": second.T @ second}

        def grad(self, at):
            return [0 * first]

        def feature_covariance(self, at):
            return [(self.found["a"], False)]

    line = "observe neural_feature_alignment() as plain"
    found = Run(stages("tune step 0.0", line), [first], paths="a").ask(Balanced()).observed
    cosine = np.sum(singular**6) / np.sqrt(np.sum(singular**4) * np.sum(singular**8))
    np.testing.assert_allclose(found["plain"]["a"], cosine, rtol=1e-12)
