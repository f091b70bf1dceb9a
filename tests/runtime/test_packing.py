"""Several tensors as one vector, and back."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc.runtime.packing import pack, unpack

SHAPES = ((), (3,), (2, 3), (0, 4), (3,), (1, 1))
VECTOR = jnp.arange(14.0)


def test_a_vector_is_unpacked_to_what_it_was_packed_of():
    tensors = [jnp.full(shape, 1.0 + i) for i, shape in enumerate(SHAPES)]
    for run in (lambda f: f, jax.jit):
        vector = run(pack)(tensors)
        assert vector.tolist() == [1, *[2] * 3, *[3] * 6, *[5] * 3, 6]
        for x, y in zip(run(lambda v: unpack(v, SHAPES))(vector), tensors, strict=True):
            assert jnp.array_equal(x, y)


@pytest.mark.parametrize("first", [jnp.nan, jnp.inf])
def test_what_is_not_finite_is_where_it_was(first):
    vector = VECTOR.at[0].set(first)
    found = jax.jit(lambda v: unpack(v, SHAPES))(vector)
    assert jnp.array_equal(jnp.concatenate([jnp.ravel(x) for x in found]), vector, equal_nan=True)


def test_each_is_the_transpose_of_the_other():
    def doubled(vector):
        return pack([2 * x for x in unpack(vector, SHAPES)])

    value, back = jax.vjp(doubled, VECTOR)
    assert jnp.array_equal(value, 2 * VECTOR)
    assert jnp.array_equal(back(VECTOR)[0], 2 * VECTOR)
    assert jnp.array_equal(jax.jvp(doubled, (VECTOR,), (VECTOR,))[1], 2 * VECTOR)
    # What was not asked has a gradient of zero, and second derivatives are there too.
    grad = jax.grad(lambda v: jnp.sum(unpack(v, SHAPES)[2] ** 3))
    expected = np.where((VECTOR >= 4) & (VECTOR < 10), 3 * VECTOR**2, 0)
    np.testing.assert_allclose(grad(VECTOR), expected)
    np.testing.assert_allclose(
        jax.jvp(grad, (VECTOR,), (jnp.ones(14),))[1], np.where(expected > 0, 6 * VECTOR, 0)
    )


def test_the_gradients_of_a_tree_are_joined_once():
    grad = jax.grad(lambda v: sum(jnp.sum(x**2) for x in unpack(v, ((2,),) * 7)))
    assert str(jax.make_jaxpr(grad)(VECTOR)).count("= pack[") == 1
    assert "add_any" not in str(jax.make_jaxpr(grad)(VECTOR))


def test_axes_of_a_vmap_stay_before_all_others():
    vectors = jnp.stack([VECTOR, VECTOR + 1], axis=1)
    found = jax.jit(jax.vmap(lambda v: unpack(v, SHAPES), in_axes=1))(vectors)
    assert [x.shape for x in found] == [(2, *shape) for shape in SHAPES]
    one = jnp.ones(3)
    packed = jax.vmap(lambda a, b: pack([a, b]), in_axes=(1, None))(jnp.zeros((2, 4)), one)
    assert packed.tolist() == [[0, 0, 1, 1, 1]] * 4
    assert unpack(vectors.T, SHAPES)[2].shape == (2, 2, 3)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of XLA for CPU")
def test_slices_are_at_places_that_xla_does_not_know():
    shapes = ((5,),) * 6
    lowered = jax.jit(lambda v: [2 * x for x in unpack(v, shapes)]).lower(jnp.ones(30))
    text = lowered.compile().as_text()
    assert len(re.findall(r" dynamic-slice\(", text)) == 6
