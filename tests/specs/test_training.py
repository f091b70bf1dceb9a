"""Every optimizer trains on real images, and what is not finite shows in its reports.

One compiled run of 20 steps on handwritten digits serves both: ten times over it trains, on the
same 20 batches, and with one batch spoiled it must report what happened and go on.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from part import optimizers
from shipped import described, program
from sklearn.datasets import load_digits

import optc

STEPS, RUNS, EXAMPLES, HIDDEN = 20, 10, 64, 16
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


WHOLE_BATCH = ("cdat_gd",)
"""Those that work at the edge of stability of the loss that they see: it must stay the same one."""


@cache
def batches(whole=False):
    """20 batches of 64 images, or 20 times the same.

    With `root` 0 the gradient is NaN although the loss is finite.
    """
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[: STEPS * EXAMPLES]
    order = np.tile(order[:EXAMPLES], STEPS) if whole else order
    return {
        "x": jnp.asarray(images[order] / 16, jnp.float32).reshape(STEPS, EXAMPLES, -1),
        "y": jnp.asarray(labels[order]).reshape(STEPS, EXAMPLES),
        "shift": jnp.zeros((STEPS, EXAMPLES, 10)),
        "root": jnp.ones(STEPS),
    }


@cache
def start():
    """Weights of a layer and a head, with a scale."""
    rng = np.random.default_rng(1)
    return {
        "hidden": {
            "kernel": rng.normal(size=(64, HIDDEN)).astype(np.float32) / 8,
            "bias": np.zeros(HIDDEN, np.float32),
        },
        "head": rng.normal(size=(HIDDEN, 10)).astype(np.float32) / 4,
        "scale": np.float32(1),
    }


def outputs(params, batch):
    hidden = jnp.tanh(batch["x"] @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    scale = jnp.sqrt(batch["root"] * params["scale"] ** 2)
    return scale * (hidden @ params["head"]) + batch["shift"]


def criterion(outputs, batch):
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), batch["y"][:, None], axis=1)
    return -jnp.mean(chosen)


def drawn(outputs, batch, key):
    return batch | {"y": jax.random.categorical(key, outputs)}


def measuring(params, batch):
    return outputs(params, batch), {}


OBJECTIVE = optc.Objective(
    outputs=measuring, loss=criterion, batch_axis=0, sampler=drawn, aux=True, measured=dict
)


@cache
def loss_at_start(whole=False):
    """The mean loss over the batches of weights that nobody has trained."""
    one = jax.vmap(lambda batch: criterion(outputs(start(), batch), batch))
    return float(jax.jit(one)(batches(whole)).mean())


def spoiled(kind):
    """The batches, the second of which is not finite."""
    given = batches()
    match kind:
        case "loss is nan":
            return given | {"x": given["x"].at[1, 0, 0].set(jnp.nan)}
        case "loss is inf":
            # Between the outputs of two classes lies more than a float32 can hold.
            return given | {"shift": given["shift"].at[1].set(-3e38).at[1, :, 0].set(3e38)}
        case "gradient is nan":
            return given | {"root": given["root"].at[1].set(0)}
    raise ValueError(kind)


def compiled(optimizer):
    """`run(params, state, batches)`: 20 steps; the weights, the state and all reports."""
    state = jax.eval_shape(optimizer.init, start())

    def run(params, state, given):
        def step(carry, batch):
            *carry, report = optimizer.update(*carry, batch, OBJECTIVE)
            return tuple(carry), report

        (params, state), reports = jax.lax.scan(step, (params, state), given)
        return params, state, reports

    return jax.jit(run).lower(start(), state, batches()).compile(FAST)


@pytest.mark.parametrize("name", optimizers())
def test_an_optimizer_trains_at_its_defaults_and_reports_what_is_not_finite(name):
    """It trains: 200 finite losses, the last 20 below those of the same batches at the start.

    In the report a loss or gradient norm that is not finite stands as it is, and the steps go on,
    the state as it was built.
    """
    optimizer, whole = program(name)(), name in WHOLE_BATCH
    run = compiled(optimizer)
    params, state = start(), optimizer.init(start())
    built = described((params, state))
    losses = []
    for _ in range(RUNS):
        params, state, reports = run(params, state, batches(whole))
        losses.append(np.asarray(reports.loss))
    assert np.isfinite(losses).all()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
    assert losses[-1].mean() < loss_at_start(whole)

    for kind in ("loss is nan", "loss is inf", "gradient is nan"):
        params, state, reports = run(start(), optimizer.init(start()), spoiled(kind))
        assert np.isfinite(reports.loss[0])
        assert np.isfinite(reports.loss[1]) == (kind == "gradient is nan")
        norms = np.asarray(reports.observed["grad_norm"])[np.asarray(reports.applied)]
        if "workers" not in optimizer.values:
            # Votes are counted: their sum is finite, and due every few steps only.
            assert np.isfinite(norms[0])
            assert np.isnan(norms[1]) or kind != "gradient is nan"
            assert reports.applied.all()
        assert int(state.count) == reports.applied.sum()
        assert described((params, state)) == built
