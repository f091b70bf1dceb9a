"""Each point is evaluated once, and gives what jax gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from programs import adamw, cdat, fsam, sam, sgd

from optc import runtime as rt
from optc.runtime.oracles import Given, Oracles
from optc.runtime.tree import Tree

# The model has two layers and 25 weights: some thirty float64 roundings.
RTOL = 1e-12


def field(params) -> rt.Field:
    tree, tensors = Tree.of(params)
    return rt.Field(tensors, tree)


def flat(x: rt.Field):
    return ravel_pytree(x.tree.unflatten(x.tensors))[0]


@pytest.fixture
def double(x64, params, batch):
    """The model in float64: its weights, batch, a direction, and the Hessian of its loss."""
    return jax.tree.map(lambda x: x.astype(jnp.float64), (params, batch))


@pytest.mark.parametrize("form", ["whole", "split"])
def test_hessian_products_agree_with_the_hessian(double, model, form):
    params, batch = double
    vector, unravel = ravel_pytree(params)
    loss = lambda x: model.loss(unravel(x), batch)  # noqa: E731
    hessian = jax.jit(jax.hessian(loss))(vector)
    direction = jnp.sin(jnp.arange(len(vector), dtype=jnp.float64))

    w, v = field(params), field(unravel(direction))

    @jax.jit
    def asked(w, v):
        oracles = Oracles(w, getattr(model, form), batch)
        at_w = oracles.at(w, "loss", "grad", "hvp", "curvature")
        return at_w.loss, flat(at_w.grad), flat(at_w.hvp(v)), at_w.curvature(v)

    found = asked(w, v)
    value, grad = jax.jit(jax.value_and_grad(loss))(vector)
    expected = value, grad, hessian @ direction, direction @ hessian @ direction
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL)


def test_split_oracles_agree_with_the_jacobian(double, model):
    params, batch = double
    vector, unravel = ravel_pytree(params)
    outputs = model.outputs(params, batch)
    jacobian = jax.jit(jax.jacobian(lambda x: model.outputs(unravel(x), batch).ravel()))(vector)
    head = jax.grad(model.criterion)(outputs, batch)
    curved = jax.hessian(lambda o: model.criterion(o.reshape(outputs.shape), batch))
    direction = jnp.sin(jnp.arange(len(vector), dtype=jnp.float64))

    w, v = field(params), field(unravel(direction))
    asks = ("outputs", "outputs_grad", "pullback", "ggn", "ggn_curvature")
    at_w = Oracles(w, model.split, batch).at(w, *asks)

    np.testing.assert_allclose(at_w.outputs.tensors[0], outputs, rtol=RTOL)
    np.testing.assert_allclose(at_w.outputs_grad.tensors[0], head, rtol=RTOL)
    pulled = flat(at_w.pullback(at_w.outputs_grad))
    np.testing.assert_allclose(pulled, jacobian.T @ head.ravel(), rtol=RTOL, atol=RTOL)
    ggn = jacobian.T @ (curved(outputs.ravel()) @ (jacobian @ direction))
    np.testing.assert_allclose(flat(at_w.ggn(v)), ggn, rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(at_w.ggn_curvature(v), direction @ ggn, rtol=RTOL)


@pytest.mark.parametrize("transform", [jax.jit, lambda f: f], ids=["traced", "not traced"])
def test_curvature_of_a_custom_backward_pass_goes_through_it(transform, double):
    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, c: (c * jnp.cos(x),))
    w = field({"x": jnp.array([0.5, 1.0])})
    objective = rt.Objective(loss=lambda params, batch: jnp.sum(sine(params["x"])))

    @transform
    def curvature(w):
        return Oracles(w, objective, None).at(w, "grad", "curvature").curvature(w)

    expected = -jnp.sum(jnp.sin(w.tensors[0]) * w.tensors[0] ** 2)
    np.testing.assert_allclose(curvature(w), expected, rtol=RTOL)


@pytest.mark.parametrize(
    ("program", "outputs", "losses"),
    [(sgd, 1, 1), (adamw, 1, 1), (sam, 2, 2), (cdat, 2, 2), (fsam, 2, 1)],
    ids=lambda x: getattr(x, "name", None),
)
@pytest.mark.parametrize("form", ["whole", "split"])
def test_the_users_functions_are_traced_once_for_each_point(
    program, outputs, losses, form, params, batch, model
):
    if program is fsam and form == "whole":
        pytest.skip("functional SAM needs outputs")
    optimizer = program()
    optimizer.step(params, optimizer.init(params), batch, getattr(model, form))
    assert (model.outputs_traced, model.loss_traced) == (outputs, losses)


def test_the_objective_sees_weights_of_their_own_dtype():
    seen = []

    def loss(params, batch):
        seen.append(params["w"].dtype)
        return jnp.sum(params["w"] ** 2)

    tree, tensors = Tree.of({"w": jnp.ones(3, jnp.bfloat16)})
    w = rt.Field([x.astype(jnp.float32) for x in tensors], tree)
    at_w = Oracles(w, rt.Objective(loss=loss), None).at(w, "loss", "grad")
    assert seen == [jnp.bfloat16]
    assert (at_w.loss.dtype, at_w.grad.tensors[0].dtype) == (jnp.float32, jnp.float32)


def test_what_was_not_asked_is_named(params, batch, model):
    w = field(params)
    at_w = Oracles(w, model.whole, batch).at(w, "loss")
    with pytest.raises(AttributeError, match="`grad` was not asked at this point"):
        _ = at_w.grad


def test_given_gradients_are_not_evaluated_again(params, batch, model):
    w = field(params)
    oracles = Oracles(w, model.whole, batch, given=Given(w, jnp.array(2.0)))
    at_w = oracles.at(w, "loss", "grad")
    assert at_w.grad is w
    assert float(at_w.loss) == 2.0
    assert model.loss_traced == 0


def test_the_loss_of_a_tensor_left_out_is_that_of_the_weights(params, batch, model):
    w = field(params)
    point = rt.restrict(w, rt.mask(w, lambda tensor: tensor.ndim == 2))
    found = Oracles(w, model.whole, batch).at(point, "loss").loss
    np.testing.assert_allclose(found, model.loss(params, batch), rtol=1e-6)
