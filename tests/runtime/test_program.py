"""Programs and optimizers: the promises of the Python face."""

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import make_params
from programs import LR, PLAIN, adamw, averaged, cdat, fsam, guarded, noisy, sam, scaled, sgd

from optc import runtime as rt


def squares(params, batch):
    parts = [jnp.sum(x.astype(jnp.float32) ** 2) for x in jax.tree.leaves(params)]
    return sum(parts, jnp.zeros(()))


SQUARES = rt.Objective(loss=squares)
EVERY = pytest.mark.parametrize("program", [*PLAIN, fsam], ids=lambda program: program.name)


def train(optimizer, params, batch, objective, steps=5):
    """Weights, state and last report after some steps from a copy of `params`."""
    params = jax.tree.map(jnp.copy, params)
    state = optimizer.init(params)
    for _ in range(steps):
        params, state, report = optimizer.step(params, state, batch, objective)
    return params, state, report


@EVERY
def test_every_program_lowers_the_loss_and_keeps_the_tree(program, params, batch, model):
    optimizer = program()
    after, state, report = train(optimizer, params, batch, model.split)
    assert float(report.loss) < float(model.loss(params, batch))
    assert jax.tree.structure(after) == jax.tree.structure(params)
    assert set(report.observed) == set(program.observed)
    assert int(state.count + 0) == 5, "what was read itself may not be donated"

    given = jax.tree.leaves((after, state))
    optimizer.step(after, state, batch, model.split)
    assert all(x.is_deleted() for x in given), "params and state are donated"


def test_update_is_pure_and_gives_what_step_gives(params, batch, model):
    optimizer = sam()
    state = optimizer.init(params)
    pure, _, _ = optimizer.update(params, state, batch, model.whole)
    stepped, _, _ = optimizer.step(params, state, batch, model.whole)
    for a, b in zip(jax.tree.leaves(pure), jax.tree.leaves(stepped), strict=True):
        # The same operations in float32, compiled one by one and together.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
def test_adamw_is_that_of_optax(double, model):
    with jax.enable_x64(double):
        params = make_params(jnp.float64 if double else jnp.float32)
        keys = jax.random.split(jax.random.key(2), 2)
        batch = {"x": jax.random.normal(keys[0], (5, 3)), "y": jax.random.normal(keys[1], (5, 2))}
        decayed = lambda params: jax.tree.map(lambda x: x.ndim >= 2, params)  # noqa: E731
        tx = optax.adamw(0.1, weight_decay=0.01, mask=decayed)

        @jax.jit
        def optax_step(params, state):
            updates, state = tx.update(jax.grad(model.loss)(params, batch), state, params)
            return optax.apply_updates(params, updates), state

        expected, state = params, tx.init(params)
        for _ in range(5):
            expected, state = optax_step(expected, state)
        found, _, _ = train(adamw(), params, batch, model.whole)
        # Five steps of size 0.1. Where a gradient is near 0 its sign decides the first step, so
        # one float32 rounding of it may count a hundredfold.
        tolerance = 1e-12 if double else 1e-5
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_setting_and_binding_floats_compile_nothing(params, batch, model):
    program = rt.Program(
        "fresh", hyperparameters=[LR], needs={}, init=sgd.steps._init, step=sgd.steps._step
    )
    optimizer = program(lr=0.1)
    params, state, _ = train(optimizer, params, batch, model.whole)
    params, _, _ = optimizer.step(params, optimizer.set(state, lr=0.2), batch, model.whole)
    train(program(lr=0.3), params, batch, model.whole)
    assert model.loss_traced == 1


def test_another_static_value_compiles_another_step(params, batch, model):
    def step(w, slots, t, h, oracles):
        at_w = oracles.at(w, "loss", "grad")
        return rt.Outcome(at_w.loss, {}, step=scaled(at_w.grad, 0.1 / h["n"]))

    program = rt.Program(
        "divided",
        hyperparameters=[rt.Hyperparameter("n", 1, static=True)],
        needs={},
        init=lambda w, h: {},
        step=step,
    )
    for n in (1, 2, 1):
        train(program(n=n), params, batch, model.whole, steps=1)
    assert model.loss_traced == 2


def test_set_changes_the_next_step(params):
    optimizer = sgd(lr=0.1)
    state = optimizer.set(optimizer.init(params), lr=0.25)
    params = {"w": jnp.ones(2)}
    after, _, _ = optimizer.update(params, state, None, SQUARES)
    np.testing.assert_array_equal(after["w"], jnp.full(2, 0.5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": -1.0}, r"`lr` is -1.0; it must be above 0.0 and at most 10.0 \(program.opt:2\)"),
        ({"rate": 1.0}, "no hyperparameter is named `rate`"),
        ({"n": 2}, r"`n` is static, so it is not part of a state; bind it: sgd\(n=2\)"),
    ],
)
def test_set_refuses_what_binding_refuses(values, message):
    static = rt.Hyperparameter("n", 1, static=True)
    program = rt.Program(
        "sgd", hyperparameters=[LR, static], needs={}, init=sgd.steps._init, step=sgd.steps._step
    )
    optimizer = program()
    with pytest.raises(ValueError, match=message):
        optimizer.set(optimizer.init({}), **values)


def test_a_sweep_is_one_program(batch, model):
    rates = jnp.array([0.01, 0.02, 0.05])

    def final(lr):
        optimizer = adamw(lr=lr)
        params = make_params()
        state = optimizer.init(params)
        for _ in range(3):
            params, state, report = optimizer.update(params, state, batch, model.whole)
        return report.loss

    swept = jax.jit(jax.vmap(final))(rates)
    assert model.loss_traced == 3, "one trace for each of the three steps"
    # Stable rates: vmap only reorders sums.
    np.testing.assert_allclose(jax.jit(final)(rates[1]), swept[1], rtol=1e-5)


@pytest.mark.parametrize(
    "params",
    [
        {},
        None,
        jnp.array(2.0),
        jnp.ones(3, jnp.bfloat16),
        {"half": jnp.ones(2, jnp.float16), "none": None, "list": [jnp.ones((1, 2))]},
        optax.EmptyState(),
        optax.TraceState(trace=jnp.ones(2)),
    ],
    ids=["empty", "none", "scalar", "bfloat16", "mixed", "empty tuple", "named tuple"],
)
@pytest.mark.parametrize("program", [adamw, averaged, guarded, noisy], ids=lambda p: p.name)
def test_any_tree_comes_back_as_it_was(program, params):
    optimizer = program()
    given = jax.tree.map(jnp.copy, params)
    after, state, _ = optimizer.step(given, optimizer.init(params), None, SQUARES)
    described = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
    assert described(after) == described(params)
    again = jax.eval_shape(optimizer.init, params)
    assert described(state) == described(again)


def test_equinox_and_flax_models_train(batch):
    mlp = equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    weights, rest = equinox.partition(mlp, equinox.is_inexact_array)

    def equinox_loss(weights, batch):
        outputs = jax.vmap(equinox.combine(weights, rest))(batch["x"])
        return jnp.mean((outputs - batch["y"]) ** 2)

    after, _, _ = train(adamw(), weights, batch, rt.Objective(loss=equinox_loss))
    assert isinstance(after, equinox.nn.MLP)

    model = flax.linen.Dense(2)
    weights = model.init(jax.random.key(0), batch["x"])
    objective = rt.Objective(outputs=lambda w, b: model.apply(w, b["x"]), loss=lambda o, b: o.sum())
    after, _, _ = train(fsam(), weights, batch, objective)
    assert set(after["params"]) == {"kernel", "bias"}


def test_bfloat16_weights_are_computed_with_in_float32():
    params = {"w": jnp.full(4, 1.0, jnp.bfloat16)}
    optimizer = averaged(lr=0.001, beta=0.0)
    state = optimizer.init(params)
    after, _, _ = optimizer.update(params, state, None, SQUARES)
    # 1 - 0.002 computed in float32 rounds to 1 - 2^-9 = 0.998046875 in bfloat16: 0.99609375 or 1.
    assert after["w"].dtype == jnp.bfloat16
    assert float(after["w"][0]) == float(jnp.bfloat16(np.float32(1) - np.float32(0.001) * 2))


def test_a_guard_holds_the_step_and_the_count_back(batch):
    def loss(params, batch):
        return jnp.sum(params["w"]) / batch["d"][0]

    optimizer = guarded()
    params = {"w": jnp.ones(2)}
    state = optimizer.init(params)
    same, state, report = optimizer.update(
        params, state, {"d": jnp.zeros(1)}, rt.Objective(loss=loss)
    )
    np.testing.assert_array_equal(same["w"], params["w"])
    assert (int(state.count), bool(report.applied)) == (0, False)
    assert float(state.slots["guard"]["skipped"]) == 1
    assert not np.isfinite(report.loss)


def test_evaluation_params_are_the_average(params, batch, model):
    optimizer = averaged()
    params, state, _ = train(optimizer, params, batch, model.whole)
    average = optimizer.evaluation_params(params, state)
    for a, b in zip(
        jax.tree.leaves(average), jax.tree.leaves(state.slots["average"]["x"]), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    plain = sgd()
    assert plain.evaluation_params(params, plain.init(params))["scale"] is params["scale"]


def test_random_programs_depend_on_the_seed_alone(params, batch, model):
    def after(key):
        optimizer = noisy()
        state = optimizer.init(params, key)
        given = jax.tree.map(jnp.copy, params)
        return optimizer.step(given, state, batch, model.whole)[0]["scale"]

    assert after(None) == after(jax.random.key(0)) == after(jax.random.PRNGKey(0))
    assert after(None) != after(jax.random.key(1))


def test_the_report_has_what_the_loss_returned_beside_it(params, batch, model):
    objective = rt.Objective(loss=lambda p, b: (model.loss(p, b), {"size": b["x"].shape[0]}))
    for program in (sgd, sam, cdat):
        _, _, report = train(program(), params, batch, objective, steps=1)
        assert int(report.aux["size"]) == 5


def test_an_empty_batch_is_refused(params, batch, model):
    optimizer = sgd()
    empty = batch | {"x": jnp.zeros((0, 3))}
    with pytest.raises(ValueError, match=r"batch leaf `x` is empty: its shape is \(0, 3\)"):
        optimizer.step(params, optimizer.init(params), empty, model.whole)
    along = rt.Objective(loss=model.loss, batch_axis=1)
    with pytest.raises(ValueError, match=r"batch leaf `x` is empty: its shape is \(3, 0\)"):
        optimizer.update(params, optimizer.init(params), {"x": jnp.zeros((3, 0))}, along)


def test_a_leaf_that_is_no_array_is_named_by_step_too(params, batch, model):
    optimizer = sgd()
    state = optimizer.init(params)
    with pytest.raises(TypeError, match=r"params leaf `act` is a .*partition it out"):
        optimizer.step(params | {"act": jnp.tanh}, state, batch, model.whole)


def test_a_state_restored_elsewhere_is_understood(params, batch, model):
    """The layout of a state is found again where `init` did not run."""
    state = adamw().init(params)
    fresh = rt.Program(
        "adamw",
        hyperparameters=adamw.hyperparameters.values(),
        needs=adamw.asked_by,
        init=adamw.steps._init,
        step=adamw.steps._step,
    )
    _, state, _ = fresh().step(params, state, batch, model.whole)
    assert int(state.count) == 1


def test_the_source_is_read_where_it_is_not_set():
    assert "def _sgd_step" in sgd.source
    program = rt.Program("sgd", needs={}, init=sgd.steps._init, step=sgd.steps._step)
    program.source = "text"
    assert program.source == "text"


def test_programs_say_what_they_need():
    assert fsam.needs == {"grad", "outputs_grad", "pullback"}
    assert sgd.hyperparameters["lr"].high == 10.0
