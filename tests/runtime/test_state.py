"""States are made of the user's trees, and refuse others."""

import jax
import jax.numpy as jnp
import optax
import pytest
from programs import adamw, noisy, sgd

from optc import runtime as rt
from optc.runtime.state import Layout
from optc.runtime.tree import Tree


def test_slots_are_trees_like_the_weights(params):
    state = adamw().init(params)
    assert jax.tree.structure(state.slots["precondition"]["mu"]) == jax.tree.structure(params)
    assert int(state.count) == 0


def test_optax_finds_slots_counts_and_hyperparameters(params):
    state = adamw(lr=0.5).init(params)
    mu = optax.tree_utils.tree_get(state, "mu")
    assert jax.tree.structure(mu) == jax.tree.structure(params)
    assert int(optax.tree_utils.tree_get(state, "count")) == 0
    assert float(optax.tree_utils.tree_get(state, "lr")) == 0.5


def test_states_are_stored_in_the_weights_dtype_or_the_declared_one():
    tree, tensors = Tree.of({"w": jnp.ones(2, jnp.bfloat16)})
    w = rt.Field([x.astype(jnp.float32) for x in tensors], tree)
    slots = {"s": {"own": rt.ones(w), "wide": rt.stored(rt.ones(w), "float32"), "n": 0.0}}
    layout = Layout.of(slots)
    outside = layout.leave(slots)["s"]
    assert outside["own"]["w"].dtype == jnp.bfloat16
    assert outside["wide"]["w"].dtype == jnp.float32
    assert outside["n"].dtype == jnp.float32
    assert layout.enter({"s": outside})["s"]["own"].tensors[0].dtype == jnp.float32


def test_a_masked_slot_holds_none_outside_its_domain():
    tree, tensors = Tree.of({"w": jnp.ones((2, 2)), "b": jnp.ones(2)})
    w = rt.Field(tensors, tree)
    slots = {"s": {"x": rt.zeros(w, rt.mask(w, lambda tensor: tensor.ndim == 2))}}
    layout = Layout.of(slots)
    outside = layout.leave(slots)
    assert outside["s"]["x"]["b"] is None
    assert layout.enter(outside)["s"]["x"].domain.flags == (False, True)


def test_a_lone_scalar_weight_is_told_from_a_scalar_slot():
    tree, tensors = Tree.of(jnp.array(1.0, jnp.bfloat16))
    w = rt.Field(tensors, tree)
    slots = {"s": {"x": rt.zeros(w), "n": jnp.array(0.0)}}
    entered = Layout.of(slots).enter(Layout.of(slots).leave(slots))["s"]
    assert isinstance(entered["x"], rt.Field)
    assert not isinstance(entered["n"], rt.Field)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"v": jnp.ones((2, 3))}, "is not built like params"),
        (
            {"w": jnp.ones((3, 2))},
            r"at `w`: slot `precondition/mu` of the state has float32\[3,2\]",
        ),
        ({"w": jnp.ones((2, 3), jnp.bfloat16)}, r"has bfloat16\[2,3\], and .* float32\[2,3\]"),
    ],
    ids=["structure", "shape", "dtype"],
)
def test_a_state_of_other_weights_is_refused(other, message):
    optimizer = adamw()
    objective = rt.Objective(loss=lambda params, batch: jnp.sum(params["w"]))
    with pytest.raises(ValueError, match=message):
        optimizer.update({"w": jnp.ones((2, 3))}, optimizer.init(other), None, objective)


def test_a_state_of_another_optimizer_is_refused(params, batch, model):
    with pytest.raises(ValueError, match="is not of the optimizer `adamw`: its hyperparameters"):
        adamw().step(params, sgd().init(params), batch, model.whole)
    with pytest.raises(TypeError, match="`state` is a tuple; it must come from `init`"):
        sgd().step(params, optax.adam(0.1).init(params), batch, model.whole)


def test_a_random_program_carries_raw_key_data(params):
    state = noisy().init(params, jax.random.key(5))
    assert (state.key.dtype, state.key.shape) == (jnp.uint32, (2,))
    assert adamw().init(params).key is None
