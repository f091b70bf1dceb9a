"""Programs as optax transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import PLAIN, adamw, averaged, cdat, fsam, polyak, sam, sgd


@pytest.mark.parametrize(
    "program", [p for p in (*PLAIN, fsam) if p is not sgd], ids=lambda program: program.name
)
def test_applied_updates_are_the_step(program, params, batch, model):
    optimizer = program()
    state = optimizer.init(params)
    tx = optimizer.transform(model.split)

    @jax.jit
    def transformed(params, state):
        loss, grads = jax.value_and_grad(model.loss)(params, batch)
        updates, state = tx.update(grads, state, params, batch=batch, value=loss)
        return optax.apply_updates(params, updates), state

    found = transformed(params, state)
    expected = optimizer.step(params, state, batch, model.split)[:2]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # Float32 with gradients of size 1 from another compilation.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_are_enough_for_a_program_that_needs_no_more(params, batch, model):
    tx = optax.chain(optax.clip_by_global_norm(1.0), adamw().transform())
    grads = jax.grad(model.loss)(params, batch)
    traced = model.loss_traced
    updates, _ = tx.update(grads, tx.init(params), params, unknown_argument=1)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert model.loss_traced == traced


def test_a_hyperparameter_bound_to_an_array_is_followed_and_a_number_lives_in_the_state():
    params = {"w": jnp.ones(2)}

    def made(rate):
        return sgd(lr=rate).transform()

    tx = optax.inject_hyperparams(made)(rate=lambda count: 0.5 / (count + 1))
    state = tx.init(params)
    for rate in (0.5, 0.25):
        updates, state = tx.update(params, state)
        np.testing.assert_allclose(updates["w"], -rate)
    np.testing.assert_allclose(optax.tree.get(state, "lr"), 0.25)

    optimizer = sgd(lr=0.5)
    state = optimizer.set(optimizer.init(params), lr=0.1)
    updates, _ = optimizer.transform().update(params, state)
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)


def test_weights_that_are_not_read_need_not_be_given():
    tx = sgd(lr=0.5).transform()
    grads = {"w": jnp.ones(2, jnp.bfloat16), "none": None}
    updates, _ = tx.update(grads, tx.init(grads))
    assert updates["none"] is None
    assert updates["w"].dtype == jnp.bfloat16
    assert float(updates["w"][0]) == -0.5


def test_weights_that_are_read_must_be_given(params):
    tx = adamw().transform()
    with pytest.raises(ValueError, match="`params` is missing: this optimizer reads the weights"):
        tx.update(params, tx.init(params))


@pytest.mark.parametrize("program", [averaged, sam, cdat], ids=lambda program: program.name)
def test_a_missing_argument_is_named(program, params):
    tx = program().transform()
    with pytest.raises(ValueError, match=r"`(params|objective)` is missing"):
        tx.update(params, tx.init(params), None if program is averaged else params)


def test_a_missing_batch_is_named_with_the_stage(params, model):
    tx = cdat().transform(model.whole)
    with pytest.raises(ValueError, match=r"`batch` is missing: program.opt:10 \| tune step cdat"):
        tx.update(params, tx.init(params), params)


def test_a_missing_loss_is_named_with_the_stage(params, batch, model):
    tx = polyak().transform()
    with pytest.raises(ValueError, match=r"`value` is missing: program.opt:11 \| tune step polyak"):
        tx.update(params, tx.init(params), params)
    grads = jax.grad(model.loss)(params, batch)
    tx.update(grads, tx.init(params), params, batch=batch, objective=model.whole)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"v": jnp.ones(2)}, "grads and params are not built alike"),
        ({"w": jnp.ones(3)}, r"at `w`: the gradient has shape \(3,\), the weight \(2,\)"),
    ],
)
def test_gradients_of_other_weights_are_refused(grads, message):
    params = {"w": jnp.ones(2)}
    tx = adamw().transform()
    with pytest.raises(ValueError, match=message):
        tx.update(grads, tx.init(params), params)


def test_optax_wrappers_hold_programs():
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    labels = {"w": "ours", "b": "theirs"}
    tx = optax.partition({"ours": adamw().transform(), "theirs": optax.sgd(0.1)}, labels)
    updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    repeated = optax.MultiSteps(sgd().transform(), 2)
    state = repeated.init(params)
    for _ in range(2):
        updates, state = repeated.update(params, state, params)
    np.testing.assert_allclose(updates["b"], -0.1 * params["b"], rtol=1e-6)


def test_the_objective_of_a_call_is_checked(params, batch):
    tx = sgd().transform()
    with pytest.raises(TypeError, match="wrap the loss function"):
        tx.update(params, tx.init(params), params, batch=batch, objective=lambda p, b: 0.0)


def test_objectives_may_come_with_the_call(params, batch, model):
    tx = sam().transform()
    grads = jax.grad(model.loss)(params, batch)
    updates, _ = tx.update(grads, tx.init(params), params, batch=batch, objective=model.whole)
    assert jnp.isfinite(optax.tree.norm(updates))
