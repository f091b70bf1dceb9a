"""Every optimizer of the library travels: lowered for three platforms, stored, and run again."""

import jax
import jax.export
import numpy as np
import pytest
from part import operations, optimizers
from shipped import SPLIT, bits, make_batch, make_params, program

REORDERED = ("sophia", "sophia_g", "lbfgs")
"""XLA adds up what is asked in a branch, or comes of a history, in another order when stored."""

FACTORS = {"matrix_power", "inverse_root", "eigenbasis", "eigenvalues", "orthonormal", "polar"}
"""A factorisation of a stored program is a choice by platform, around which XLA fuses otherwise."""


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
    if name in REORDERED or operations(name) & FACTORS:
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, atol=8 * 2.0**-23 * np.max(np.abs(y), initial=0))
    else:
        assert bits(found) == bits(expected)
