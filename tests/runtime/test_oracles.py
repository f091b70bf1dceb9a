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
    outputs = jax.jit(model.outputs)(params, batch)
    jacobian = jax.jit(jax.jacobian(lambda x: model.outputs(unravel(x), batch).ravel()))(vector)
    head = jax.jit(jax.grad(model.criterion))(outputs, batch)
    curved = jax.jit(jax.hessian(lambda o: model.criterion(o.reshape(outputs.shape), batch)))
    direction = jnp.sin(jnp.arange(len(vector), dtype=jnp.float64))

    w, v = field(params), field(unravel(direction))
    asks = ("outputs", "outputs_grad", "pullback", "ggn", "ggn_curvature")

    @jax.jit
    def asked(w, v):
        at_w = Oracles(w, model.split, batch).at(w, *asks)
        pulled = at_w.pullback(at_w.outputs_grad)
        values = at_w.outputs.tensors[0], at_w.outputs_grad.tensors[0]
        return *values, flat(pulled), flat(at_w.ggn(v)), at_w.ggn_curvature(v)

    ggn = jacobian.T @ (curved(outputs.ravel()) @ (jacobian @ direction))
    expected = outputs, head, jacobian.T @ head.ravel(), ggn, direction @ ggn
    for a, b in zip(asked(w, v), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL)


def test_the_gauss_newton_matrix_of_a_linear_model_is_the_hessian(double):
    """And of another model it is not: the curvature of the model is left out."""
    params = [jnp.array([[0.5, -1.0], [2.0, 0.25], [1.5, 0.75]]), jnp.array([0.1, -0.3])]
    x = jnp.array([[1.0, 2.0, -0.5], [0.3, -1.0, 0.7]])

    def outputs(params, batch, bend=lambda z: z):
        return bend(batch @ params[0] + params[1])

    def criterion(outputs, batch):
        return -jnp.mean(jax.nn.log_softmax(outputs)[:, 0])

    w, v = field(params), field([x.T, jnp.ones(2)])
    for bend, same in ((lambda z: z, True), (jnp.tanh, False)):
        model = rt.Objective(outputs=lambda p, b, f=bend: outputs(p, b, f), loss=criterion)
        at_w = Oracles(w, model, x).at(w, "hvp", "ggn")
        apart = np.max(np.abs(flat(at_w.hvp(v)) - flat(at_w.ggn(v))))
        assert apart <= 1e-14 if same else apart > 1e-2


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


def test_gauss_newton_products_of_a_custom_backward_pass(double, model):
    """JAX has no forward derivative of a jax.custom_vjp, but one of what it does beforehand."""
    params, batch = double

    @jax.custom_vjp
    def twice(x):
        return 2 * x

    twice.defvjp(lambda x: (2 * x, None), lambda _, c: (2 * c,))
    w, v = field(params), field(jax.tree.map(jnp.cos, params))

    def asked(double):
        objective = rt.Objective(
            outputs=lambda params, batch: double(model.outputs(params, batch)),
            loss=lambda outputs, batch: jnp.mean(outputs**4),
        )
        oracles = Oracles(w, objective, batch)
        along = oracles.at(w, "ggn_curvature").ggn_curvature(v)
        return oracles.at(w, "ggn").ggn(v), along

    (found, along), (expected, _) = jax.jit(lambda: (asked(twice), asked(lambda x: 2 * x)))()
    np.testing.assert_allclose(flat(found), flat(expected), rtol=RTOL, atol=RTOL)
    np.testing.assert_allclose(along, flat(v) @ flat(expected), rtol=RTOL)


def test_a_gauss_newton_curvature_is_of_the_outputs_of_all_devices(params, batch, model):
    """What is not the same on all devices would not leave a shard_map as one value."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere, parts = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")
    mean = lambda o, b: jax.lax.pmean(model.criterion(o, b), "data")  # noqa: E731

    def asked(w, batch, criterion):
        objective = rt.Objective(outputs=model.outputs, loss=criterion)
        return Oracles(w, objective, batch).at(w, "ggn_curvature").ggn_curvature(w)

    sharded = jax.shard_map(
        lambda w, batch: asked(w, batch, mean),
        mesh=mesh,
        in_specs=(everywhere, parts),
        out_specs=everywhere,
    )
    w = field(params)
    found, expected = jax.jit(lambda: (sharded(w, batch), asked(w, batch, model.criterion)))()
    # Sums of 25 products of float32, in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_loss_of_outputs_that_are_no_floats_has_a_gradient(params, batch, model):
    """Whole and complex numbers among the outputs are in nobody's way who asks of the weights."""

    def outputs(params, batch):
        y = model.outputs(params, batch)
        return {"waves": jnp.fft.fft(y, axis=0), "places": jnp.arange(len(y))}

    def criterion(outputs, batch):
        shares = outputs["places"] / len(outputs["places"])
        return jnp.mean(shares[:, None] * jnp.abs(outputs["waves"]) ** 2)

    w = field(params)

    def asked(**form):
        oracles = Oracles(w, rt.Objective(**form), batch)
        at_w = oracles.at(w, "loss", "grad", "hvp")
        return at_w.loss, flat(at_w.grad), flat(at_w.hvp(w))

    apart = {"outputs": outputs, "loss": criterion}
    whole = {"loss": lambda params, batch: criterion(outputs(params, batch), batch)}
    for a, b in zip(*jax.jit(lambda: (asked(**apart), asked(**whole)))(), strict=True):
        # Sums of 25 products of float32, in another order.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="model output `places` has dtype int32"):
        Oracles(w, rt.Objective(**apart), batch).at(w, "outputs_grad")


@pytest.mark.parametrize("form", ["whole", "split"])
def test_all_that_is_asked_at_a_point_is_of_one_evaluation(params, batch, model, form):
    w = field(params)
    asks = ["loss", "grad", "hvp"]
    if form == "split":
        asks += ["outputs", "outputs_grad", "pullback", "ggn"]

    def asked(w):
        at_w = Oracles(w, getattr(model, form), batch).at(w, *asks)
        products = [getattr(at_w, name)(w) for name in ("hvp", "ggn") if name in asks]
        return at_w.grad, products

    jax.eval_shape(asked, w)
    assert (model.outputs_traced, model.loss_traced) == (1, 1)


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
