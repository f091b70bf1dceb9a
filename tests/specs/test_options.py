"""Every optimizer that asks more than a gradient runs on an objective with all options."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from part import optimizers
from shipped import criterion, make_batch, make_params, outputs, program

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
@pytest.mark.parametrize("name", optimizers())
def test_every_oracle_takes_every_option_and_nothing_leaves_its_loop(name, micro_batches):
    if not program(name).needs - {"grad"}:
        pytest.skip("asks for the gradient alone, which options of the objective do not change")
    objective = dataclasses.replace(OBJECTIVE, micro_batches=micro_batches)
    params, batch, model_state = make_params(), make_batch(), {"passes": jnp.zeros((), int)}
    optimizer = program(name)()

    def step(params, key):
        state = optimizer.init(params, key)
        return optimizer.update(params, state, batch, objective, model_state=model_state)

    with jax.checking_leaks():
        after, _, report = jax.eval_shape(step, params, jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(params)
    assert jax.tree.structure(report.model_state) == jax.tree.structure(model_state)
    assert report.aux["scale"].shape == ((5,) if micro_batches == 5 else ())
