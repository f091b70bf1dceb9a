"""What an objective may ask for and give back: keys, model states, auxiliary outputs, remat."""

import dataclasses
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from programs import fsam, guarded, noisy, sam, sgd

from optc import runtime as rt
from optc.runtime.oracles import Oracles
from optc.runtime.tree import Tree

# One layer, six examples: some thirty float64 roundings each.
RTOL = 1e-12


def _normed(params, batch, *, key, model_state):
    """A layer with dropout and batch norm, which shows its key."""
    # The bits of the key itself, which compile faster than random ones.
    shape = batch["x"].shape
    bits = jax.random.key_data(key)[1] >> jnp.arange(np.prod(shape), dtype=jnp.uint32)
    kept = bits.reshape(shape) % 2 == 1
    hidden = jnp.where(kept, 2 * batch["x"], 0) @ params["in"]
    mean, variance = jnp.mean(hidden, axis=0), jnp.var(hidden, axis=0)
    outputs = jnp.tanh((hidden - mean) / jnp.sqrt(variance + 0.1)) @ params["out"]
    after = {
        "mean": 0.9 * model_state["mean"] + 0.1 * mean,
        "passes": model_state["passes"] + 1,
    }
    return outputs, jax.random.key_data(key), after


def _criterion(outputs, batch):
    return jnp.mean(jnp.sum((outputs - batch["y"]) ** 4, axis=1))


def _loss(params, batch, *, key, model_state):
    outputs, *beside = _normed(params, batch, key=key, model_state=model_state)
    return _criterion(outputs, batch), *beside


OPTIONS = {"aux": True, "key": True, "model_state": True, "batch_axis": 0}
SPLIT = rt.Objective(outputs=_normed, loss=_criterion, **OPTIONS)
WHOLE = rt.Objective(loss=_loss, **OPTIONS)


DRAWN = np.random.default_rng(1).normal(size=32)


@pytest.fixture
def params():
    return {
        "in": jnp.asarray(DRAWN[:12].reshape(3, 4), float),
        "out": jnp.asarray(DRAWN[12:20].reshape(4, 2), float),
    }


@pytest.fixture
def batch():
    return {"x": DRAWN[:18].reshape(6, 3), "y": DRAWN[-12:].reshape(6, 2)}


@pytest.fixture
def model_state():
    return {"mean": jnp.ones(4, float), "passes": jnp.zeros((), int)}


def _reference(objective, batch, key, model_state):
    """The loss as a function of a vector: a mean over the slices, each with its own key."""
    n = objective.micro_batches
    keys = [key] if n == 1 else [jax.random.fold_in(key, k) for k in range(n)]
    parts = [jax.tree.map(lambda x, k=k: x[k::n], batch) for k in range(n)]

    def loss(params):
        values = [
            objective.value(params, part, key=k, model_state=model_state)[0]
            for part, k in zip(parts, keys, strict=True)
        ]
        return sum(values) / n

    return loss


@pytest.mark.parametrize(
    "objective",
    [
        dataclasses.replace(WHOLE, micro_batches=2),
        dataclasses.replace(SPLIT, remat=jax.checkpoint_policies.dots_saveable),
        dataclasses.replace(SPLIT, micro_batches=2, remat=True),
    ],
    ids=["whole in slices", "split", "split in slices"],
)
def test_all_oracles_are_of_one_function(x64, params, batch, model_state, objective):
    key = jax.random.key(3)
    vector, unravel = ravel_pytree(params)
    direction = jnp.sin(jnp.arange(len(vector), dtype=float))

    def expected():
        reference = _reference(objective, batch, key, model_state)
        loss = lambda x: reference(unravel(x))  # noqa: E731
        grad, product = jax.jvp(jax.grad(loss), (vector,), (direction,))
        return loss(vector), grad, product, direction @ product

    def found():
        (_, tensors), (tree, v) = Tree.of(params), Tree.of(unravel(direction))
        w, v = rt.Field(tensors, tree), rt.Field(v, tree)
        oracles = Oracles(w, objective, batch, model_key=key, model_state=model_state)
        at_w = oracles.at(w, "loss", "grad", "hvp", "curvature")
        values = [at_w.loss, at_w.grad, at_w.hvp(v), at_w.curvature(v)]
        if objective.split:
            split = oracles.at(w, "outputs_grad", "pullback")
            values.append(split.pullback(split.outputs_grad))
        return values

    loss, grad, *rest = jax.jit(expected)()
    found = jax.jit(found)()
    expected = (loss, grad, *rest, *([grad] if objective.split else []))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(ravel_pytree(a)[0], ravel_pytree(b)[0], rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize("objective", [WHOLE, SPLIT], ids=["whole", "split"])
def test_a_step_asks_with_one_key_and_keeps_the_model_state_of_the_weights(
    x64, params, batch, model_state, objective
):
    key = jax.random.key(3)
    optimizer = sam(lr=0.1, rho=0.5)
    value = lambda p: objective.value(p, batch, key=key, model_state=model_state)  # noqa: E731
    value_and_grad = jax.jit(jax.value_and_grad(value, has_aux=True))
    (loss, beside), g = value_and_grad(params)
    length = np.sqrt(sum(np.sum(np.square(x)) for x in g.values()))
    away = {name: params[name] + 0.5 * g[name] / length for name in params}
    _, g = value_and_grad(away)
    expected = {name: params[name] - 0.1 * g[name] for name in params}

    state = optimizer.init(params)
    found, _, report = optimizer.step(
        params, state, batch, objective, key=key, model_state=model_state
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=RTOL)
    np.testing.assert_allclose(report.loss, loss, rtol=RTOL)
    np.testing.assert_array_equal(report.aux, jax.random.key_data(key))
    np.testing.assert_allclose(report.model_state["mean"], beside.model_state["mean"], rtol=RTOL)
    assert int(report.model_state["passes"]) == 1


@pytest.mark.parametrize("program", [sgd, noisy], ids=lambda program: program.name)
def test_each_step_has_a_key_of_its_own_from_the_state(params, batch, model_state, program):
    def run(seed):
        optimizer = program()

        def body(carry, _):
            *carry, model_state = carry
            after = optimizer.update(*carry, batch, SPLIT, model_state=model_state)
            params, state, report = after
            return (params, state, report.model_state), (report.aux, report.model_state["passes"])

        begin = params, optimizer.init(params, jax.random.key(seed)), model_state
        return jax.lax.scan(body, begin, length=3)[1]

    keys, passes = jax.jit(jax.vmap(run))(jnp.array([0, 0, 1]))
    np.testing.assert_array_equal(passes, [[1, 2, 3]] * 3)
    np.testing.assert_array_equal(keys[0], keys[1])
    assert len({tuple(key) for key in np.concatenate([keys[0], keys[2]]).tolist()}) == 6


def test_a_step_that_is_held_back_has_another_key_too():
    """The count of steps stays there, so it cannot be what tells the keys apart."""

    def loss(params, batch, *, key):
        return jnp.sum(params["w"]) * jnp.nan, jax.random.key_data(key)

    objective = rt.Objective(loss=loss, key=True)
    params, optimizer, keys = {"w": jnp.ones(2)}, guarded(), []
    state = optimizer.init(params, jax.random.key(0))
    for _ in range(2):
        params, state, report = optimizer.step(params, state, None, objective)
        keys.append(report.aux.tolist())
    assert not report.applied
    assert keys[0] != keys[1]


def test_micro_batches_have_a_key_each_and_give_one_model_state(params, batch, model_state):
    objective = dataclasses.replace(SPLIT, micro_batches=3)
    key, optimizer = jax.random.key(3), sgd()
    _, _, report = optimizer.update(
        params, optimizer.init(params), batch, objective, key=key, model_state=model_state
    )
    keys = [jax.random.key_data(jax.random.fold_in(key, k)) for k in range(3)]
    np.testing.assert_array_equal(report.aux, keys)

    @jax.jit
    def slice_mean(part, key):
        _, beside = SPLIT.value(params, part, key=key, model_state=model_state)
        return beside.model_state["mean"]

    parts = [jax.tree.map(lambda x, k=k: x[k::3], batch) for k in range(3)]
    keys = [jax.random.fold_in(key, k) for k in range(3)]
    mean = np.mean([slice_mean(*each) for each in zip(parts, keys, strict=True)], axis=0)
    np.testing.assert_allclose(report.model_state["mean"], mean, rtol=1e-6)
    assert int(report.model_state["passes"]) == 1


def test_a_transformation_asks_with_the_key_of_its_gradients(params, batch, model_state):
    key, optimizer = jax.random.key(3), fsam()
    given = {"key": key, "model_state": model_state}
    tx = optimizer.transform(SPLIT)

    @jax.jit
    def updates(params, state):
        value = lambda p: SPLIT.value(p, batch, **given)[0]  # noqa: E731
        return tx.update(jax.grad(value)(params), state, params, batch=batch, **given)[0]

    found = updates(params, tx.init(params))
    after, _, _ = optimizer.update(params, optimizer.init(params), batch, SPLIT, **given)
    for a, b, p in zip(*map(jax.tree.leaves, (found, after, params)), strict=True):
        # Float32 with weights of size 1 from another compilation.
        np.testing.assert_allclose(p + a, b, rtol=1e-5, atol=1e-6)
    for name in given:
        rest = {other: x for other, x in given.items() if other != name}
        message = f"`{name}` is missing: program.opt:[29] .* asks for the oracle"
        with pytest.raises(ValueError, match=message):
            tx.update(params, tx.init(params), params, batch=batch, **rest)


def test_an_exported_step_has_the_options(params, batch, model_state):
    optimizer = sgd()
    state = optimizer.init(params, jax.random.key(0))

    def step(params, state, batch, model_state):
        return optimizer.update(params, state, batch, SPLIT, model_state=model_state)

    arguments = params, state, batch, model_state
    blob = jax.export.export(jax.jit(step))(*arguments).serialize()
    found = jax.export.deserialize(blob).call(*arguments)
    for a, b in zip(*map(jax.tree.leaves, (found, jax.jit(step)(*arguments))), strict=True):
        np.testing.assert_array_equal(a, b)


def _returning(value, **options):
    objective = rt.Objective(loss=lambda params, batch, **_: value, **options)
    return lambda: objective.value({}, None, model_state={"mean": jnp.zeros(2)})


def _stepping(**arguments):
    params = {"w": jnp.ones(2)}
    options = {"model_state": True, "key": True}
    objective = rt.Objective(loss=lambda params, batch: jnp.sum(params["w"]))
    if "objective" in arguments:
        options = arguments.pop("objective")
        objective = dataclasses.replace(objective, **options)
    return lambda: sgd().update(params, sgd().init(params), None, objective, **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            _returning(jnp.ones(()), aux=True),
            "returned one array; with `aux` it returns (loss, aux)",
        ),
        (
            _returning((1.0, 2), aux=True, model_state=True),
            "returned a tuple of 2; with `aux` and `model_state` it returns "
            "(loss, aux, model_state)",
        ),
        (
            _returning((1.0, {"mean": jnp.zeros(3)}), model_state=True),
            "the model state `mean` was float32[2], and the model returned float32[3]",
        ),
        (_returning((1.0, {}), model_state=True), "returned a model state of another structure"),
        (_stepping(objective={"key": True}), "init(params, key=jax.random.key(0))"),
        (_stepping(objective={"model_state": True}), "`model_state` is missing"),
        (_stepping(model_state=1.0), "optc.Objective(..., model_state=True)"),
        (_stepping(key=jax.random.key(0)), "optc.Objective(..., key=True)"),
        (lambda: dataclasses.replace(SPLIT, key=1), "`key` of an objective is True or False"),
        (lambda: dataclasses.replace(SPLIT, remat="dots"), "policy of jax.checkpoint_policies"),
        (lambda: dataclasses.replace(SPLIT, micro_batches=0), "is a number of slices, and not 0"),
        (lambda: dataclasses.replace(SPLIT, micro_batches=2, batch_axis=None), "batch_axis=0"),
        (lambda: dataclasses.replace(WHOLE, sampler=print), "optc.Objective(outputs=..., loss="),
        (lambda: dataclasses.replace(SPLIT, sampler=1), "`sampler` of an objective is a function"),
    ],
)
def test_a_wrong_objective_is_told_what_to_write(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()
