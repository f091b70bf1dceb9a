"""Weights in every kind of tree, sweeps, and what compiles anew and what does not."""

from typing import NamedTuple

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from shipped import described, loss, make_batch, make_params, program

import optc

RNG = np.random.default_rng(8)
BATCH = {
    "x": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32),
    "y": jnp.asarray(RNG.normal(size=(5, 2)), jnp.float32),
}


class Weights(NamedTuple):
    kernel: jax.Array
    bias: jax.Array


def square(outputs, batch):
    return jnp.mean((outputs.astype(jnp.float32) - batch["y"]) ** 2)


def dense(dtype):
    return Weights(jnp.asarray(RNG.normal(size=(3, 2)), dtype), jnp.zeros(2, dtype))


def linear(weights, batch):
    return batch["x"].astype(weights.kernel.dtype) @ weights.kernel + weights.bias


def flax_case():
    module = flax.linen.Dense(2)
    params = module.init(jax.random.key(0), BATCH["x"])
    return params, lambda params, batch: module.apply(params, batch["x"])


def equinox_case():
    module = equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    params, rest = equinox.partition(module, equinox.is_inexact_array)
    assert any(x is None for x in jax.tree.leaves(params, is_leaf=lambda x: x is None))
    return params, lambda params, batch: jax.vmap(equinox.combine(params, rest))(batch["x"])


CASES = {
    "flax": flax_case,
    "equinox": equinox_case,
    "namedtuple": lambda: (dense(jnp.float32), linear),
    "bfloat16": lambda: (dense(jnp.bfloat16), linear),
    "mixed": lambda: (dense(jnp.float32)._replace(bias=jnp.zeros(2, jnp.bfloat16)), linear),
    "scalar": lambda: (jnp.ones(()), lambda params, batch: params * batch["x"][:, :2]),
    "empty": lambda: ({}, lambda params, batch: batch["x"][:, :2]),
    "nothing": lambda: ({"a": None, "b": ()}, lambda params, batch: batch["x"][:, :2]),
}


@pytest.mark.parametrize("name", ["adamw", "fsam"])
@pytest.mark.parametrize("case", CASES)
def test_a_tree_comes_back_as_it_went_in(case, name):
    params, outputs = CASES[case]()
    objective = optc.Objective(outputs=outputs, loss=square)
    optimizer = program(name)(lr=0.01)
    state = optimizer.init(params)
    before = described((params, state))
    first = None
    for _ in range(3):
        params, state, report = optimizer.step(params, state, BATCH, objective)
        first = report.loss if first is None else first
    assert described((params, state)) == before
    assert np.isfinite(report.loss)
    if jax.tree.leaves(params):
        assert report.loss < first
    assert int(state.count) == 3


def test_moments_of_bfloat16_weights_are_bfloat16_and_hyperparameters_are_not():
    state = program("adamw")().init(dense(jnp.bfloat16))
    assert {x.dtype for x in jax.tree.leaves(state.slots)} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in state.hyperparameters.values()} == {jnp.dtype(jnp.float32)}


class Traced:
    """The loss of the tiny model, counting its traces."""

    def __init__(self):
        self.traces = 0

    def __call__(self, params, batch):
        self.traces += 1
        return loss(params, batch)


def test_a_vmapped_sweep_of_rates_is_one_program_and_equals_the_single_runs():
    counted, batch = Traced(), make_batch()
    objective = optc.Objective(loss=counted)

    def final(lr):
        optimizer = program("adamw")(lr=lr)
        params = make_params()

        def step(carry, _):
            *carry, report = optimizer.update(*carry, batch, objective)
            return tuple(carry), report.loss

        return jax.lax.scan(step, (params, optimizer.init(params)), length=20)[1]

    rates = jnp.array([0.0, 0.001, 0.01, 0.03])
    swept = jax.jit(jax.vmap(final))(rates)
    assert counted.traces <= 2, "one trace of a scan's body, or two where its carry is refined"
    single = jax.jit(final)
    for rate, losses in zip(rates, swept, strict=True):
        # At stable rates batching only reorders sums: 20 steps of some roundings of 2^-24.
        np.testing.assert_allclose(losses, single(rate), rtol=1e-5)
    assert len(np.unique(swept[:, -1])) == 4


def test_setting_and_binding_rates_compile_nothing():
    counted, batch = Traced(), make_batch()
    objective = optc.Objective(loss=counted)
    optimizer = program("adamw")()
    params = make_params()
    state = optimizer.init(params)
    params, state, _ = optimizer.step(params, state, batch, objective)
    traces = counted.traces
    state = optimizer.set(state, lr=0.02, b1=0.5, decay=0.0)
    params, state, _ = optimizer.step(params, state, batch, objective)
    rebound = program("adamw")(lr=0.3, eps=1e-3)
    params = make_params()
    params, state, _ = rebound.step(params, rebound.init(params), batch, objective)
    assert counted.traces == traces


def test_another_static_value_compiles_another_step():
    counted = Traced()
    objective = optc.Objective(loss=counted)
    for total, traces in ((100, 2), (50, 4), (100, 4)):
        optimizer, params = program("psam")(total=total), make_params()
        optimizer.step(params, optimizer.init(params), make_batch(), objective)
        assert counted.traces == traces, "two gradients for each compiled step"


def test_optax_finds_the_slots_by_its_own_names():
    params = {"w": jnp.ones((2, 3))}
    adamw = program("adamw")()
    _, state = adamw.transform().update(params, adamw.init(params), params)
    for name, share in (("mu", 0.1), ("nu", 0.001)):
        found = optax.tree.get(state, name)
        assert jax.tree.structure(found) == jax.tree.structure(params)
        np.testing.assert_allclose(found["w"], share, rtol=1e-4)
    assert int(optax.tree.get(state, "count")) == 1
    assert float(optax.tree.get(state, "lr")) == np.float32(1e-3)

    momentum = program("momentum")()
    _, state = momentum.transform().update(params, momentum.init(params), params)
    np.testing.assert_array_equal(optax.tree.get(state, "trace")["w"], params["w"])
