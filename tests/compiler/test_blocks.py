"""Blocks: a tensor seen as a grid of matrices, and what rules make of it."""

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree, graph_of
from hypothesis import given, settings
from hypothesis import strategies as st

from optc import runtime as rt
from optc.compiler import rearrange
from optc.compiler.meaning.normal import same_map
from optc.compiler.one_tensor import blocks, whole
from optc.compiler.records import View

shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shapes, st.integers(0, 9))
def test_a_tensor_is_cut_into_equal_blocks_and_comes_back(shape, largest):
    view = View("", (), largest)
    reason = rearrange.misfit(view, shape, {})
    if reason is not None:
        with pytest.raises(ValueError, match=f"^{reason}$"):
            rt.View(blocks_of=largest).shape(shape, {})
        return
    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    seen = rt.blocks(jnp.asarray(x), largest)
    assert seen.shape == rearrange.shape(view, shape, {})
    assert rt.View(blocks_of=largest).shape(shape, {}) == seen.shape
    *_, down, across, height, width = seen.shape
    assert max(height, width) <= largest
    assert 0 <= down * height - shape[-2] < max(down, 1)
    assert 0 <= across * width - shape[-1] < max(across, 1)
    np.testing.assert_array_equal(seen, blocks(x, largest))
    np.testing.assert_array_equal(rt.unblocks(seen, x, largest), x)
    np.testing.assert_array_equal(whole(np.asarray(seen), shape), x)
    assert np.sum(np.asarray(seen)) == np.sum(x)


def test_a_block_is_the_part_of_the_matrix_that_its_place_says():
    x = np.arange(35.0).reshape(5, 7)
    seen = rt.blocks(jnp.asarray(x), 3)  # two by three blocks of 3 x 3
    assert seen.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(seen[1, 1, :2], x[3:, 3:6])
    assert not np.any(seen[1, :, 2])


UNIT = """
rule precondition unit() {
  state nu = zeros(norm(g, per = matrix))
  nu <- 0.5 * nu + norm(g, per = matrix)^2
  return g / sqrt(nu)
}
optimizer one(lr = 0.1, size: int = 2) {
  group grid where ndim >= 2 VIEW { precondition unit()  tune step lr }
  group rest { tune step lr }
}
"""


@pytest.mark.parametrize(
    "view", ["blocks of 2", "blocks of size", 'view "a b -> b a" blocks of 2', "blocks of 100"]
)
def test_blocks_run_as_their_graph_says(view):
    agree(UNIT.replace("VIEW", view), steps=2)


def test_one_block_is_the_matrix_itself():
    whole, cut = (agree(UNIT.replace("VIEW", v), steps=3) for v in ("", "blocks of 100"))
    for one, other in zip(whole.moments, cut.moments, strict=True):
        for x, y in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(x, y)


def test_what_ones_are_in_blocks_is_not_what_blocks_are_of_ones():
    """Behind a tensor that does not divide there are zeros, also where the signal is a number."""
    text = """
    rule precondition flat() { return g / g }
    rule precondition spread() { return g / mean(g, per = tensor) }
    optimizer one() {
      FIRST
      group grid where ndim >= 2 blocks of 2 { SECOND precondition spread() }
      group rest { }
      tune step 0.1
    }
    """
    before = text.replace("FIRST", "precondition flat()").replace("SECOND", "")
    inside = text.replace("FIRST", "").replace("SECOND", "precondition flat()")
    assert not same_map(graph_of(before), graph_of(inside))
    assert same_map(graph_of(before), graph_of(before))
