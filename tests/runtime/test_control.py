"""Bounded loops."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from optc import runtime as rt
from optc.runtime.control import in_place


def test_repeat_runs_n_rounds():
    total, last = rt.repeat(4, lambda i, total, _: (total + i, i), (jnp.array(0), jnp.array(-1)))
    assert (int(total), int(last)) == (6, 3)


def test_repeat_stops_where_the_condition_fails():
    def count(n):
        return rt.repeat(n, lambda i, x: (2 * x,), (jnp.array(1.0),), lambda x: x < 10)[0]

    assert float(jax.jit(count)(100)) == 16
    assert float(count(2)) == 4


def changed(condition, kept, given):
    """One of two kept values, where a condition holds, after a value that nobody knows."""
    return in_place(
        condition,
        lambda kept, given: (kept[0] * jnp.sin(given), kept[1]),
        kept,
        given,
        after=[kept[0] / 0, jnp.zeros((0,))],
    )


def test_what_changes_in_place_changes_where_the_condition_holds():
    kept = jnp.arange(3.0), jnp.ones(2)
    given = jnp.full(3, 2.0)
    for condition, factor in ((True, np.sin(2.0)), (False, 1.0)):
        first, second = jax.jit(changed)(jnp.asarray(condition), kept, given)
        np.testing.assert_allclose(first, factor * kept[0], rtol=1e-6)
        assert second.tolist() == [1, 1]
    both = jax.vmap(changed, in_axes=(0, None, None))(jnp.array([True, False]), kept, given)
    assert both[0].shape == (2, 3)
    assert both[0][1].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("condition", "slope"), [(True, 3 * np.cos(2.0)), (False, 0.0)])
def test_what_changes_in_place_has_derivatives_both_ways(condition, slope):
    def total(given):
        return changed(jnp.asarray(condition), (jnp.arange(3.0), jnp.ones(2)), given)[0].sum()

    given = jnp.full(3, 2.0)
    reverse = jax.grad(total)(given).sum()
    _, forward = jax.jvp(total, (given,), (jnp.ones(3),))
    np.testing.assert_allclose([reverse, forward], slope, rtol=1e-6, atol=0)


def test_what_changes_in_place_has_derivatives_in_what_it_speaks_of():
    def total(c):
        scaled = jax.jit(lambda x, due: in_place(due, lambda kept: c * kept, x))
        return scaled(jnp.arange(3.0), jnp.asarray(True)).sum()

    assert float(jax.grad(total)(2.0)) == 3


def test_what_changes_in_place_travels():
    arguments = jnp.asarray(True), (jnp.ones((2, 3)), jnp.ones(2)), jnp.full((2, 3), 2.0)
    step = jax.jit(changed)
    blob = jax.export.export(step, platforms=("cpu", "tpu"))(*arguments).serialize()
    for x, y in zip(jax.export.deserialize(blob).call(*arguments), step(*arguments), strict=True):
        np.testing.assert_array_equal(x, y)
    assert "LayoutConstraint" in step.lower(*arguments).as_text()
