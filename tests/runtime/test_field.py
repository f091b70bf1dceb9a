"""Fields and lifting: one inner call per tensor, traced once per shape."""

import jax
import jax.numpy as jnp
import pytest

from optc import runtime as rt
from optc.runtime.field import UnknownWeights
from optc.runtime.tree import Tree


def field(*tensors) -> rt.Field:
    tree, arrays = Tree.of({f"w{i}": x for i, x in enumerate(tensors)})
    return rt.Field(arrays, tree)


def test_per_tensor_traces_once_for_each_shape():
    traced = []

    @rt.per_tensor
    def double(x):
        traced.append(x.shape)
        return 2 * x

    w = field(*[jnp.ones((2, 3))] * 4, *[jnp.ones(3)] * 4)
    jax.jit(double)(w)
    assert traced == [(2, 3), (3,)]


def test_per_tensor_skips_places_where_no_field_has_a_tensor():
    w = field(jnp.ones((2, 3)), jnp.ones(3))
    matrices = rt.mask(w, lambda tensor: tensor.ndim == 2)
    a = rt.restrict(w, matrices)
    assert rt.per_tensor(lambda x: x + 1)(a).tensors[1] is None
    b = rt.per_tensor(lambda x, y: y if x is None else x + y)(a, w)
    assert [float(x.max()) for x in b.tensors] == [2.0, 1.0]


def test_per_tensor_gives_a_field_for_each_result_even_without_tensors():
    def pair(x):
        return x, None

    some = rt.per_tensor(pair)(field(jnp.ones(2)))
    none = rt.per_tensor(pair)(field())
    assert [f.tensors[0] is None for f in some] == [False, True]
    assert [f.tensors for f in none] == [(), ()]


def test_per_tensor_without_fields_is_the_function():
    assert rt.per_tensor(lambda a, b: a + b)(1, 2) == 3


def test_per_tensor_gets_masks_and_python_settings_as_static_values():
    w = field(jnp.ones((2, 2)), jnp.ones(2))
    chosen = rt.mask(w, lambda tensor: tensor.path == "w1")

    @rt.per_tensor
    def change(x, chosen, nesterov, steps):
        assert isinstance(chosen, bool)
        return x * (10 if chosen and nesterov else steps)

    assert [float(x.max()) for x in change(w, chosen, True, 3).tensors] == [3.0, 10.0]


@pytest.mark.usefixtures("x64")
def test_float32_tensors_stay_float32_beside_float64_scalars():
    w = field(jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float64))
    scaled = rt.per_tensor(lambda x, s: s * x)(w, jnp.float64(0.1))
    assert [str(x.dtype) for x in scaled.tensors] == ["float32", "float64"]


def test_per_tensor_works_under_vmap():
    w = field(jnp.ones((2, 3)), jnp.ones(3))
    swept = jax.vmap(lambda s: rt.per_tensor(lambda x, s: s * x)(w, s))(jnp.arange(4.0))
    assert swept.tensors[0].shape == (4, 2, 3)


def test_masks_combine():
    w = field(jnp.ones((2, 3)), jnp.ones(3), jnp.ones(()))
    matrices = rt.mask(w, lambda tensor: tensor.ndim == 2)
    large = rt.mask(w, lambda tensor: tensor.size > 1 and tensor.dtype == "float32")
    assert (matrices & large).flags == (True, False, False)
    assert (matrices | large).flags == (True, True, False)
    assert (~large).flags == (False, False, True)


def test_zeros_are_made_for_the_chosen_tensors_in_the_compute_dtype():
    w = field(jnp.ones((2, 3), jnp.bfloat16), jnp.ones(3))
    z = rt.zeros(w, rt.mask(w, lambda tensor: tensor.ndim == 2))
    assert z.tensors[0].dtype == jnp.float32
    assert z.tensors[1] is None


def test_copy_has_buffers_of_its_own():
    w = field(jnp.ones(2))
    a, b = w.tensors[0], rt.copy(w).tensors[0]
    assert a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer()


def test_unknown_weights_have_shapes_but_no_values():
    w = UnknownWeights(field(jnp.ones(3)))
    assert rt.zeros(w).tensors[0].shape == (3,)
    with pytest.raises(ValueError, match="`params` is missing"):
        rt.norm(w)
