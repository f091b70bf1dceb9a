"""Tensors out of a stack: the right ones, by code that XLA makes once."""

import re

import jax
import jax.numpy as jnp
import pytest

from optc.runtime.tree import Leaf, Place

PLACE = Place(Leaf("w", (3, 4), "float32"), (1, 0, 2, 5, 7), (0, 7, 1, 2, 5))


@pytest.mark.parametrize("first", [1.0, jnp.nan, jnp.inf])
def test_unstacked_tensors_are_those_of_the_stack(first):
    stack = jnp.arange(60.0).reshape(5, 3, 4).at[0, 0, 0].set(first)
    for row, tensor in zip((2, 0, 3, 4, 1), jax.jit(PLACE.separate)(stack), strict=True):
        assert jnp.array_equal(tensor, stack[row], equal_nan=True)


def test_unstacking_works_under_vmap():
    stacks = jnp.arange(120.0).reshape(2, 5, 3, 4)
    found = jax.jit(jax.vmap(PLACE.separate))(stacks)
    assert jnp.array_equal(found[0], stacks[:, 2])


def test_nothing_is_taken_out_of_an_empty_stack():
    assert [x.shape for x in jax.jit(PLACE.separate)(jnp.zeros((5, 0, 4)))] == [(0, 4)] * 5


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of XLA for CPU")
def test_slices_of_a_stack_are_at_places_that_xla_does_not_know():
    compiled = jax.jit(lambda x: [2 * y for y in PLACE.separate(x)]).lower(jnp.ones((5, 3, 4)))
    text = compiled.compile().as_text()
    assert len(re.findall(r" dynamic-slice\(", text)) == 5
