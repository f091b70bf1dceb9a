"""`guard finite` skips what is not finite. That it shows elsewhere is in `test_training`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shipped import SPLIT, bits, make_batch, make_params, staged


def spoiled(kind):
    """A batch on which something of the model is not finite; its shapes are as always."""
    batch = make_batch()
    match kind:
        case "loss is nan":
            return batch | {"x": batch["x"].at[0, 0].set(jnp.nan)}
        case "gradient is nan":
            return batch | {"root": jnp.zeros(())}
    raise ValueError(kind)


GUARDED = {
    "sgd": ("guard finite", "tune step 0.1"),
    "adamw": (
        "precondition adam()",
        "decay weights(0.1)",
        "tune step 0.1",
        "average ema(decay = 0.5)",
        "guard finite",
    ),
    "fsam": ("perturb preconditioned_functional_sam()", "tune step cdat()", "guard finite"),
    "armijo": ("precondition momentum()", "tune step armijo()", "guard finite"),
    "schedule-free": ("tune step 0.1", "average schedule_free()", "guard finite"),
}


@pytest.mark.parametrize("name", GUARDED)
def test_a_guarded_step_that_is_not_finite_changes_nothing(name):
    optimizer = staged(*GUARDED[name], "observe norm(g) as grad_norm")()
    params = make_params()
    state = optimizer.init(params)
    params, state, report = optimizer.step(params, state, make_batch(), SPLIT)
    assert bool(report.applied)

    for kind in ("loss is nan", "gradient is nan"):
        kept = jax.tree.map(jnp.copy, (params, state))
        params, state, report = optimizer.step(params, state, spoiled(kind), SPLIT)
        assert bits((params, state)) == bits(kept)
        assert not bool(report.applied)
        assert np.isnan(report.observed["grad_norm"]), "what was skipped is still reported"

    params, state, report = optimizer.step(params, state, make_batch(), SPLIT)
    assert bool(report.applied)
    assert int(state.count) == 2
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((params, state)))


def test_a_guarded_transformation_gives_zero_updates_for_what_is_not_finite():
    tx = staged("precondition momentum()", "tune step 0.1", "guard finite")().transform()
    params = make_params()
    state = tx.init(params)
    grads = jax.tree.map(jnp.ones_like, params)
    _, state = tx.update(grads, state, params)
    spoiled = grads | {"scale": jnp.full((), jnp.inf)}
    updates, after = tx.update(spoiled, state, params)
    assert not np.any([np.any(np.asarray(x)) for x in jax.tree.leaves(updates)])
    assert bits(after) == bits(state)
