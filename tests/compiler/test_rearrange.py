"""Patterns of views: read, undone, and the same in the compiler and in the runtime."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optc import runtime as rt
from optc.compiler import rearrange
from optc.compiler.records import View


def test_a_pattern_has_two_sides():
    before, after = rearrange.sides("d (q h k) -> (q h) d k")
    assert before == (("d",), ("q", "h", "k"))
    assert after == (("q", "h"), ("d",), ("k",))


@pytest.mark.parametrize(
    ("pattern", "alone"), [("d (h k) -> h d k", True), ("h d k -> (h k) d", False)]
)
def test_the_way_back_needs_sizes_where_axes_were_joined(pattern, alone):
    assert rearrange.undone_alone(pattern) is alone


def test_the_arrangement_is_that_of_reshape_and_transpose():
    x = np.arange(24.0).reshape(4, 6)
    seen = rt.view(jnp.asarray(x), "d (h k) -> h d k", h=2)
    np.testing.assert_array_equal(seen, x.reshape(4, 2, 3).transpose(1, 0, 2))
    np.testing.assert_array_equal(rt.view(seen, "h d k -> d (h k)"), x)


@st.composite
def arrangements(draw):
    """A pattern, the length of each of its axes, and the shape on its left."""
    names = "abcde"[: draw(st.integers(1, 5))]
    sizes = {name: draw(st.integers(1, 3)) for name in names}

    def side(order):
        cuts = draw(st.lists(st.booleans(), min_size=len(order) - 1, max_size=len(order) - 1))
        groups = [[order[0]]]
        for name, apart in zip(order[1:], cuts, strict=True):
            if apart:
                groups.append([name])
            else:
                groups[-1].append(name)
        return groups

    before, after = side(list(names)), side(draw(st.permutations(list(names))))
    text = " -> ".join(
        " ".join(g[0] if len(g) == 1 else f"({' '.join(g)})" for g in groups)
        for groups in (before, after)
    )
    shape = tuple(int(np.prod([sizes[name] for name in g])) for g in before)
    given = {name: sizes[name] for g in before for name in g[1:]}
    return text, given, shape


@given(arrangements())
def test_unview_undoes_view_and_the_compiler_knows_the_shape(arrangement):
    pattern, sizes, shape = arrangement
    x = np.arange(float(np.prod(shape))).reshape(shape)
    seen = rt.view(x, pattern, **sizes)
    np.testing.assert_array_equal(rt.unview(seen, x, pattern, **sizes), x)
    assert rt.View(pattern, **sizes).shape(shape, {}) == seen.shape
    known = View(pattern, tuple(sizes.items()))
    assert rearrange.shape(known, shape, {}) == seen.shape
    assert rearrange.misfit(known, shape, {}) is None


@given(arrangements(), st.lists(st.integers(0, 7), max_size=4).map(tuple), st.integers(0, 3))
def test_the_compiler_and_the_runtime_say_alike_why_a_tensor_does_not_fit(arrangement, shape, more):
    pattern, sizes, _ = arrangement
    sizes = {name: size + more - 1 for name, size in sizes.items()}
    try:
        seen = rt.View(pattern, **sizes).shape(shape, {})
        reason = None
    except ValueError as error:
        reason = str(error)
    known = View(pattern, tuple(sizes.items()))
    assert rearrange.misfit(known, shape, {}) == reason
    if reason is None:
        assert rearrange.shape(known, shape, {}) == seen
