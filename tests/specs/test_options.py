"""Every optimizer that asks more than a gradient runs on an objective with all options."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from shipped import OPTIMIZERS, criterion, make_batch, make_params, outputs, program

import optc


def _outputs(params, batch, *, key, model_state):
    scale = 1 + 0.1 * jax.random.normal(key)
    return scale * outputs(params, batch), {"scale": scale}, {"passes": model_state["passes"] + 1}


OBJECTIVE = optc.Objective(
    outputs=_outputs,
    loss=criterion,
    aux=True,
    key=True,
    model_state=True,
    batch_axis=0,
    remat=True,
    sampler=lambda outputs, batch, key: batch,
    measured=lambda aux: {},
)


@pytest.mark.parametrize("micro_batches", [pytest.param(1, marks=pytest.mark.rest), 5])
def test_every_oracle_takes_every_option_and_nothing_leaves_its_loop(micro_batches):
    objective = dataclasses.replace(OBJECTIVE, micro_batches=micro_batches)
    params, batch, model_state = make_params(), make_batch(), {"passes": jnp.zeros((), int)}
    for name in OPTIMIZERS:
        if not program(name).needs - {"grad"}:
            continue
        optimizer = program(name)()

        def step(params, key, optimizer=optimizer):
            state = optimizer.init(params, key)
            return optimizer.update(params, state, batch, objective, model_state=model_state)

        with jax.checking_leaks():
            after, _, report = jax.eval_shape(step, params, jax.random.key(0))
        assert jax.tree.structure(after) == jax.tree.structure(params), name
        assert jax.tree.structure(report.model_state) == jax.tree.structure(model_state), name
        assert report.aux["scale"].shape == ((5,) if micro_batches == 5 else ()), name
