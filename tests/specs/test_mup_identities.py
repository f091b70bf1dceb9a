"""muP: what holds at every width, by the reference interpreter in float64.

The network is an MLP of two tanh layers, and its readout is multiplied by base over width.
"""

import numpy as np
import pytest
from interpreted import Run, stages

BASE = 16
PATHS = ("input/bias", "input/kernel", "hidden/bias", "hidden/kernel", "head/kernel")
RNG = np.random.default_rng(5)
INPUTS, TARGETS = RNG.normal(size=(12, 8)), RNG.normal(size=(12, 1))


def narrow():
    random = np.random.default_rng(6)
    kernels = (random.normal(size=(8, BASE)), random.normal(size=(BASE, BASE)) / 4)
    biases = (random.normal(size=BASE), random.normal(size=BASE))
    return [biases[0], kernels[0], biases[1], kernels[1], random.normal(size=(BASE, 1)) / 4]


def doubled(weights):
    """The same function at twice the width: each neuron twice, hidden weights halved."""
    b1, w1, b2, w2, w3 = weights
    twice = np.concatenate
    hidden = np.block([[w2, w2], [w2, w2]]) / 2
    return [twice([b1, b1]), twice([w1, w1], axis=1), twice([b2, b2]), hidden, twice([w3, w3])]


def multiplier(weights):
    """What the readout is multiplied by: base over width."""
    return BASE / len(weights[-1])


def outputs(weights, scale):
    b1, w1, b2, w2, w3 = weights
    first = np.tanh(INPUTS @ w1 + b1)
    second = np.tanh(first @ w2 + b2)
    return first, second, scale * second @ w3


def gradient(weights, scale):
    """Of half the mean squared error, worked out by hand."""
    *_, w2, w3 = weights
    first, second, f = outputs(weights, scale)
    error = scale * (f - TARGETS) / len(INPUTS)
    into_second = error @ w3.T * (1 - second**2)
    into_first = into_second @ w2.T * (1 - first**2)
    return [
        into_first.sum(0),
        INPUTS.T @ into_first,
        into_second.sum(0),
        first.T @ into_second,
        second.T @ error,
    ]


def trained(spec, weights, steps=60, paths=PATHS, scale=None, **values):
    """What the network says on its way."""
    run, seen = Run(spec, weights, paths, **values), []
    scale = multiplier(weights) if scale is None else scale
    for _ in range(steps):
        run.step(gradient(run.weights, scale))
        seen.append(outputs(run.weights, scale)[-1])
    return np.array(seen)


RULES = [
    ("mup_adamw", {"lr": 3e-3, "eps": 0.0, "base": BASE, "decay": 0.1}),
    ("mup_sgd", {"lr": 0.05, "base": BASE}),
]


@pytest.mark.parametrize(("spec", "values"), RULES)
def test_a_network_of_doubled_neurons_stays_the_same_function(spec, values):
    # Sums over twice as many terms round otherwise: 60 steps of a hundred roundings of 2^-53.
    one, two = trained(spec, narrow(), **values), trained(spec, doubled(narrow()), **values)
    assert np.abs(one[-1] - one[0]).max() > 0.1
    np.testing.assert_allclose(two, one, atol=1e-12)


@pytest.mark.parametrize(
    ("spec", "values"),
    [("adamw", {"lr": 3e-3, "eps": 0.0}), ("momentum", {"lr": 0.05})],
)
def test_the_same_rate_for_every_tensor_does_not_keep_it(spec, values):
    one, two = trained(spec, narrow(), **values), trained(spec, doubled(narrow()), **values)
    assert np.abs(two - one).max() > 0.01


def test_a_readout_without_multiplier_is_trained_as_a_hidden_matrix():
    # Adam's step does not see a factor of the gradient, so the factor may stand in the weights and
    # in their rate instead.
    *others, readout = doubled(narrow())
    values = {"lr": 3e-3, "eps": 0.0, "base": BASE, "decay": 0.1}
    multiplied = trained("mup_adamw", [*others, readout], **values)
    paths = (*PATHS[:-1], "last/kernel")
    plain = trained("mup_adamw", [*others, readout / 2], paths=paths, scale=1.0, **values)
    np.testing.assert_allclose(plain, multiplied, atol=1e-12)


def test_at_its_base_width_it_is_plain_adamw():
    weights = narrow()
    plain = trained("adamw", weights, 20, decay=0.1)
    mup = trained("mup_adamw", weights, 20, decay=0.1, base=BASE)
    np.testing.assert_allclose(mup, plain, rtol=1e-12)


def test_at_its_base_width_it_is_plain_momentum():
    weights = narrow()
    mup = trained("mup_sgd", weights, 20, base=BASE, lr=0.05)
    np.testing.assert_allclose(mup, trained("momentum", weights, 20, lr=0.05), rtol=1e-12)


@pytest.mark.parametrize("width", [64, 256, 1024])
def test_the_first_update_moves_a_hidden_layer_alike_at_every_width(width):
    # For one example the gradient is an outer product and Adam's first update its sign, so inputs
    # of size 1 move each coordinate by lr * base.
    random = np.random.default_rng(width)
    inputs, errors = random.choice([-1.0, 1.0], width), random.normal(size=width)
    run = Run("mup_adamw", [np.zeros((width, width))], ["hidden"], eps=0.0, base=64.0, lr=0.01)
    run.step([np.outer(inputs, errors)])
    np.testing.assert_allclose(inputs @ run.weights[0], -np.sign(errors) * 0.01 * 64, rtol=1e-12)


def test_widths_are_those_of_the_layout():
    weights = [np.ones((2, 3)), np.ones((5, 2, 3)), np.ones(4), np.ones(())]

    def rates(expression):
        run = Run(stages(f"tune step {expression}"), weights)
        run.step(weights)
        return [float(1 - np.ravel(w)[0]) for w in run.weights]

    assert rates("width_in()") == [2, 2, 1, 1]
    assert rates("width_out()") == [3, 3, 4, 1]
    assert rates('width_in(layout = "output_first")') == [3, 3, 1, 1]
    assert rates('width_out(layout = "output_first")') == [2, 2, 4, 1]
    assert rates("width_scale(base = 6)") == [3, 3, 1, 1]
