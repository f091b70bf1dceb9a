"""Random fields have a stream for each tensor and site; stochastic rounding is unbiased."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc import runtime as rt
from optc.runtime.random import key_data, wrap_key
from optc.runtime.tree import Tree


def field(*tensors) -> rt.Field:
    tree, arrays = Tree.of(list(tensors))
    return rt.Field(arrays, tree)


def test_no_two_tensors_or_sites_share_a_stream():
    w = field(jnp.ones(8), jnp.ones(8))
    key = jax.random.key(0)
    draws = [x for site in (0, 1) for x in rt.normal(key, site, w).tensors]
    assert len({x.tobytes() for x in map(np.asarray, draws)}) == 4
    again = rt.normal(key, 0, w).tensors[0]
    np.testing.assert_array_equal(again, draws[0])


def test_draws_have_the_shapes_of_the_weights_and_the_compute_dtype():
    w = field(jnp.ones((2, 3), jnp.bfloat16))
    for draw in (rt.normal, rt.rademacher, rt.uniform):
        x = draw(jax.random.key(0), 0, w).tensors[0]
        assert (x.shape, x.dtype) == ((2, 3), jnp.float32)
    assert set(np.unique(rt.rademacher(jax.random.key(0), 0, w).tensors[0])) <= {-1.0, 1.0}


def test_a_number_has_a_stream_of_its_own_for_each_site():
    key = jax.random.key(0)
    fields = np.asarray(rt.normal(key, 0, field(jnp.ones(()), jnp.ones(()))).tensors)
    numbers = [rt.number("normal", key, site) for site in (0, 1)]
    assert len({float(x) for x in (*fields, *numbers)}) == 4
    for kind in ("normal", "rademacher", "uniform"):
        x = rt.number(kind, key, 0)
        assert (x.shape, x.dtype) == ((), jnp.float32)


def test_stochastic_rounding_is_unbiased():
    # 1 + 2^-9 lies a quarter of the way from 1 to the next bfloat16, 1 + 2^-7.
    n = 4096
    x = field(jnp.full(n, 1 + 2**-9))
    rounded = np.asarray(rt.round_stochastic(jax.random.key(0), 0, x, "bfloat16").tensors[0])
    assert set(np.unique(rounded)) == {1.0, 1 + 2**-7}
    # The mean of n draws with variance 3/16 of the squared gap, at five standard deviations.
    assert abs(rounded.mean() - (1 + 2**-9)) < 5 * 2**-7 * np.sqrt(3 / 16 / n)


def test_stochastic_rounding_keeps_what_bfloat16_holds_and_what_is_not_finite():
    x = field(jnp.array([0.0, -1.5, jnp.inf, -jnp.inf, jnp.nan]))
    rounded = rt.round_stochastic(jax.random.key(0), 0, x, "bfloat16").tensors[0]
    np.testing.assert_array_equal(rounded, x.tensors[0])


def test_stochastic_rounding_to_another_dtype_is_refused():
    with pytest.raises(ValueError, match="not to float16"):
        rt.round_stochastic(jax.random.key(0), 0, field(jnp.ones(2)), "float16")


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_raw_key_data_gives_the_key_back(impl):
    key = jax.random.key(3, impl=impl)
    assert wrap_key(key_data(key)) == key
    np.testing.assert_array_equal(key_data(jax.random.key_data(key)), key_data(key))
