"""Reductions agree with NumPy over all elements, and with optax inside one tensor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optc import runtime as rt
from optc.runtime.tree import Tree

EPS = np.finfo(np.float32).eps


def field(*tensors) -> rt.Field:
    tree, arrays = Tree.of(list(tensors))
    return rt.Field(arrays, tree)


@pytest.fixture
def w() -> rt.Field:
    keys = jax.random.split(jax.random.key(0), 2)
    return field(jax.random.normal(keys[0], (3, 4)), jax.random.normal(keys[1], (5,)), jnp.ones(()))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (rt.norm, np.linalg.norm),
        (rt.sum, np.sum),
        (rt.mean, np.mean),
        (rt.max, np.max),
        (rt.min, np.min),
    ],
)
def test_reductions_run_over_all_elements(w, ours, theirs):
    flat = np.concatenate([np.ravel(x) for x in w.tensors]).astype(np.float64)
    # 18 elements of size about 1: each sum is within 18 roundings.
    for reduce in (ours, jax.jit(ours)):
        np.testing.assert_allclose(reduce(w), theirs(flat), rtol=18 * EPS, atol=18 * EPS)


def test_dot_of_a_field_with_itself_is_the_squared_norm(w):
    np.testing.assert_allclose(rt.dot(w, w), rt.norm(w) ** 2, rtol=4 * EPS)


def test_boolean_reductions():
    some = field(jnp.ones(3), jnp.zeros(2))
    truth = rt.per_tensor(lambda x: x > 0)(some)
    assert bool(rt.any(truth))
    assert not bool(rt.all(truth))


@pytest.mark.parametrize("w", [field(), field(jnp.ones((0, 3)))], ids=["no tensors", "no elements"])
def test_over_no_elements_reductions_give_their_neutral_element(w):
    assert [float(f(w)) for f in (rt.norm, rt.sum, rt.mean)] == [0.0, 0.0, 0.0]
    assert [float(rt.max(w)), float(rt.min(w))] == [-np.inf, np.inf]


def test_tensors_that_are_not_there_count_for_nothing(w):
    vectors = rt.restrict(w, rt.mask(w, lambda tensor: tensor.ndim == 1))
    np.testing.assert_allclose(rt.norm(vectors), jnp.linalg.norm(w.tensors[1]), rtol=4 * EPS)


def test_reductions_work_under_vmap(w):
    scales = jnp.arange(1.0, 4.0)
    norms = jax.vmap(lambda s: rt.norm(rt.per_tensor(lambda x, s: s * x)(w, s)))(scales)
    np.testing.assert_allclose(norms, scales * rt.norm(w), rtol=4 * EPS)


@pytest.mark.usefixtures("x64")
def test_scalars_have_the_default_float_dtype():
    w = field(jnp.ones(3, jnp.float32))
    assert rt.norm(w).dtype == jnp.float64


@pytest.mark.parametrize(
    "shape", [(), (3,), (1, 3), (3, 4), (2, 3, 4), (2, 2, 3, 4)], ids=lambda s: str(len(s))
)
def test_the_unit_norm_is_that_of_adaptive_clipping_in_optax(shape):
    w, g = jax.random.normal(jax.random.key(0), (2, *shape))
    g = 1000 * g  # so that every unit is clipped
    clip = optax.adaptive_grad_clip(1.0)
    theirs, _ = jax.jit(clip.update)(g, clip.init(w), w)
    ours = g * rt.norm_per(w, "unit") / rt.norm_per(g, "unit")
    np.testing.assert_allclose(ours, theirs, rtol=8 * EPS)


def test_parts_of_a_tensor_broadcast_against_it():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    shapes = [rt.sum_per(x, per).shape for per in ("tensor", "row", "column", "matrix")]
    assert shapes == [(1, 1, 1), (2, 3, 1), (2, 1, 4), (2, 1, 1)]
    assert rt.max_per(x, "row")[0, 0, 0] == 3
    assert rt.min_per(x, "column")[1, 0, 0] == 12
    assert rt.mean_per(jnp.arange(3.0), "row")[0] == 1
    assert rt.dot_per(x, x, "tensor")[0, 0, 0] == jnp.sum(x * x)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="`per` is 'layer'"):
        rt.sum_per(jnp.ones((2, 2)), "layer")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_greatest_and_the_least_of_many_are_nan_where_one_is(value):
    """XLA reduces 4096 numbers in another way than few."""
    x = np.linspace(-1, 1, 4160, dtype=np.float32).reshape(64, 65)
    x[3, 4] = value
    for ours, theirs in ((rt.max, np.max), (rt.min, np.min)):
        assert np.array_equal(jax.jit(ours)(field(jnp.array(x))), theirs(x), equal_nan=True)
    for per, theirs in ((rt.max_per, np.max), (rt.min_per, np.min)):
        found = jax.jit(per, static_argnums=1)(jnp.array(x), "tensor")
        assert np.array_equal(found, theirs(x, keepdims=True), equal_nan=True)
