"""States and reports travel: jax.export, checkpoints of leaves, other platforms."""

import jax
import jax.export
import numpy as np
import pytest
from programs import adamw, noisy


@pytest.mark.parametrize(
    "program",
    [pytest.param(adamw, marks=pytest.mark.rest), noisy],
    ids=lambda program: program.name,
)
def test_an_exported_step_comes_back_equal(program, params, batch, model):
    optimizer = program()
    state = optimizer.init(params)

    def step(params, state, batch):
        return optimizer.update(params, state, batch, model.whole)

    exported = jax.export.export(jax.jit(step), platforms=("cpu", "cuda", "tpu"))
    blob = exported(params, state, batch).serialize()
    found = jax.export.deserialize(blob).call(params, state, batch)
    expected = jax.jit(step)(params, state, batch)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
