"""Bounded loops."""

import jax
import jax.numpy as jnp

from optc import runtime as rt


def test_repeat_runs_n_rounds():
    total, last = rt.repeat(4, lambda i, total, _: (total + i, i), (jnp.array(0), jnp.array(-1)))
    assert (int(total), int(last)) == (6, 3)


def test_repeat_stops_where_the_condition_fails():
    def count(n):
        return rt.repeat(n, lambda i, x: (2 * x,), (jnp.array(1.0),), lambda x: x < 10)[0]

    assert float(jax.jit(count)(100)) == 16
    assert float(count(2)) == 4
