"""Every optimizer of the library travels: lowered for three platforms, stored, and run again."""

import jax
import jax.export
import pytest
from part import optimizers
from shipped import SPLIT, bits, make_batch, make_params, program


@pytest.mark.parametrize("name", optimizers())
def test_an_exported_step_comes_back_bit_for_bit(name):
    optimizer = program(name)()
    params, batch = make_params(), make_batch()
    state = optimizer.init(params)
    step = jax.jit(lambda params, state, batch: optimizer.update(params, state, batch, SPLIT))

    exported = jax.export.export(step, platforms=("cpu", "cuda", "tpu"))(params, state, batch)
    found = jax.export.deserialize(exported.serialize()).call(params, state, batch)
    expected = step(params, state, batch)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert bits(found) == bits(expected)
