"""Wrong calls of shipped optimizers are refused at once, with the stage and its line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shipped import SPLIT, loss, make_batch, make_params, program

import optc

WHOLE = optc.Objective(loss=loss)
FSAM_LINE = r"optimizer/fsam.opt:9 \| perturb functional_sam\(radius = rho\)"


def started(name):
    params = make_params()
    optimizer = program(name)()
    return optimizer, params, optimizer.init(params)


@pytest.mark.parametrize("name", ["fsam", "pfsam"])
@pytest.mark.parametrize("method", ["step", "update"])
def test_an_objective_that_is_not_split_is_refused_before_anything_runs(name, method):
    def never(params, batch):
        raise AssertionError("the loss was called")

    optimizer, params, state = started(name)
    line = rf"optimizer/{name}.opt:\d+ \| perturb \w*functional_sam\(radius = rho\)"
    with pytest.raises(ValueError, match=rf"{line} asks for, needs the model's outputs; give them"):
        getattr(optimizer, method)(params, state, make_batch(), optc.Objective(loss=never))
    with pytest.raises(ValueError, match=line):
        optimizer.transform(optc.Objective(loss=never))
    assert not jax.tree.leaves(params)[0].is_deleted()


def test_a_function_is_no_objective():
    optimizer, params, state = started("adamw")
    with pytest.raises(TypeError, match=r"wrap the loss function: optc\.Objective"):
        optimizer.step(params, state, make_batch(), loss)


def test_an_objective_is_made_of_functions():
    with pytest.raises(TypeError, match="`loss` of an objective is a function, not a float"):
        optc.Objective(loss=1.0)
    with pytest.raises(TypeError, match="`outputs` of an objective is a function, not a dict"):
        optc.Objective(outputs={}, loss=loss)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (lambda x: x["x"].sum(axis=0), r"float32\[3\]"),
        (lambda x: 1, r"int32\[\]"),
        (lambda x: "much", "a str"),
        (lambda x: (x["x"].sum(), 1, 2), "a tuple of 3"),
        (lambda x: None, "NoneType"),
    ],
)
def test_a_loss_that_is_not_one_float_is_refused(returned, found):
    optimizer, params, state = started("sgd")
    objective = optc.Objective(loss=lambda params, batch: returned(batch))
    with pytest.raises(TypeError, match=f"the loss of the objective (is|returned) .*{found}"):
        optimizer.update(params, state, make_batch(), objective)


# ---- trees


@pytest.mark.parametrize("name", ["adamw", "fsam"])
def test_a_state_of_other_weights_is_refused(name):
    optimizer, params, state = started(name)
    with pytest.raises(ValueError, match=r"of the state.* is not built like params"):
        optimizer.update({"other": params}, state, make_batch(), SPLIT)
    wider = params | {"second": jnp.ones((4, 7))}
    with pytest.raises(
        ValueError,
        match=r"do not match at `second`: slot `precondition/mu` of the state has "
        r"float32\[4,2\], and for these params it would have float32\[4,7\]",
    ):
        optimizer.update(wider, state, make_batch(), SPLIT)


def test_a_state_of_another_optimizer_is_refused():
    _, params, state = started("lion")
    with pytest.raises(ValueError, match="the state is not of the optimizer `adamw`"):
        program("adamw")().step(params, state, make_batch(), SPLIT)
    with pytest.raises(TypeError, match="`state` is a dict; it must come from `init`"):
        program("adamw")().step(params, {}, make_batch(), SPLIT)


def test_gradients_of_other_weights_are_refused():
    optimizer, params, state = started("adamw")
    tx = optimizer.transform()
    with pytest.raises(ValueError, match="grads and params are not built alike"):
        tx.update({"w": jnp.ones(3)}, state, params)
    grads = params | {"second": jnp.ones((2, 4))}
    with pytest.raises(ValueError, match=r"at `second`: the gradient has shape \(2, 4\), the weig"):
        tx.update(grads, state, params)


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (jnp.ones(3, jnp.int32), "params leaf `step` has dtype int32; only float tensors"),
        (jnp.ones(3, bool), "params leaf `step` has dtype bool"),
        (jnp.ones(3, jnp.complex64), "params leaf `step` has dtype complex64"),
        ("text", "params leaf `step` is a str, not an array"),
        (jnp.tanh, "params leaf `step` is a .*, not an array; partition it out"),
    ],
)
def test_weights_that_are_no_floats_are_refused_by_init(leaf, message):
    for name in ("sgd", "fsam"):
        with pytest.raises(TypeError, match=message):
            program(name)().init({"w": jnp.ones(2), "step": leaf})


@pytest.mark.parametrize("name", ["sgd", "fsam", "armijo_gd"])
def test_an_empty_batch_is_refused(name):
    optimizer, params, state = started(name)
    empty = make_batch() | {"x": jnp.zeros((0, 3))}
    with pytest.raises(ValueError, match=r"batch leaf `x` is empty: its shape is \(0, 3\)"):
        optimizer.step(params, state, empty, SPLIT)


# ---- hyperparameters


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("sgd", {"lr": -1}, r"`lr` is -1.0; it must be at least 0.0 \(optimizer/sgd.opt:2\)"),
        ("fsam", {"lr": 1.0}, r"`lr` is 1.0; it must be above 0.0 and below 1.0 \(optimizer/fsam"),
        ("fsam", {"lr": 0}, r"`lr` is 0.0; it must be above 0.0 and below 1.0"),
        ("adamw", {"b1": 1.0}, r"`b1` is 1.0; it must be at least 0.0 and below 1.0 \(optimizer/a"),
        ("adamw", {"lr": float("nan")}, r"`lr` is nan; it must be finite"),
        ("adamw", {"lr": float("inf")}, r"`lr` is inf; it must be finite"),
        ("adamw", {"decy": 0.1}, "no hyperparameter is named `decy`; did you mean `decay`"),
        ("adamw", {"weight_decay": 0.1}, "no hyperparameter is named `weight_decay`"),
        (
            "pfsam",
            {"total": 0},
            r"`total` is 0; it must be at least 1(.0)? \(optimizer/pfsam.opt:2\)",
        ),
        ("armijo_gd", {"c": 1.0}, r"`c` is 1.0; it must be above 0.0 and below 1.0"),
        ("cdat_gd", {"scale": -0.1}, r"`scale` is -0.1; it must be at least 0.0"),
        ("adamw", {"lr": np.ones(2)}, r"`lr` has shape \(2,\); it must be one number"),
    ],
)
def test_a_wrong_value_is_refused_when_it_is_bound(name, values, message):
    with pytest.raises(ValueError, match=message):
        program(name)(**values)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("adamw", {"lr": "0.1"}, "`lr` is '0.1'; it must be a number"),
        ("adamw", {"lr": True}, "`lr` is True; it must be a number"),
        ("adamw", {"lr": None}, "`lr` is None; it must be a number"),
        ("pfsam", {"total": 10.0}, "`total` is 10.0; it must be an int"),
        ("pfsam", {"total": True}, "`total` is True; it must be an int"),
    ],
)
def test_a_value_of_another_type_is_refused_when_it_is_bound(name, values, message):
    with pytest.raises(TypeError, match=message):
        program(name)(**values)


def test_set_refuses_what_binding_refuses():
    optimizer, _, state = started("adamw")
    with pytest.raises(ValueError, match=r"`b2` is 1.0; it must be at least 0.0 and below 1.0"):
        optimizer.set(state, b2=1)
    with pytest.raises(ValueError, match="no hyperparameter is named `beta`"):
        optimizer.set(state, beta=0.5)


# ---- as an optax transformation


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "`objective` is missing"),
        ({"objective": SPLIT}, "`batch` is missing"),
        ({"batch": make_batch()}, "`objective` is missing"),
    ],
)
def test_fsam_as_a_transformation_names_what_it_misses(given, message):
    optimizer, params, state = started("fsam")
    tx = optimizer.transform()
    with pytest.raises(ValueError, match=rf"{message}: {FSAM_LINE}"):
        tx.update(params, state, params, **given)


def test_fsam_as_a_transformation_needs_the_weights():
    optimizer, params, state = started("fsam")
    with pytest.raises(ValueError, match="`params` is missing"):
        optimizer.transform(SPLIT).update(params, state, batch=make_batch())


def test_polyak_as_a_transformation_needs_the_loss():
    optimizer, params, state = started("polyak_sgd")
    line = r"optimizer/polyak_sgd.opt:5 \| tune step polyak\(max_step, f_min\)"
    with pytest.raises(ValueError, match=rf"`value` is missing: {line} asks for the loss"):
        optimizer.transform().update(params, state, params)


def test_adamw_as_a_transformation_needs_the_weights_that_it_decays():
    optimizer, params, state = started("adamw")
    with pytest.raises(ValueError, match="`params` is missing: this optimizer reads the weights"):
        optimizer.transform().update(params, state)


# ---- loading


def test_an_unknown_spec_is_not_found():
    with pytest.raises(FileNotFoundError, match=r"`nope` is neither a file .* nor an optimizer"):
        optc.load("nope")
    with pytest.raises(FileNotFoundError, match="did you mean `polyak_sgd`"):
        optc.load("polyak_sdg")
    with pytest.raises(FileNotFoundError, match=r"nope.opt: no such file"):
        optc.load("nope.opt")


def test_a_default_of_a_loaded_spec_is_checked_as_it_is_replaced():
    assert optc.load("adamw", defaults={"lr": 0.5}).hyperparameters["lr"].default == 0.5
    with pytest.raises(optc.SpecError, match="lr"):
        optc.load("adamw", defaults={"lr": -1.0})
    with pytest.raises(optc.SpecError, match="rl"):
        optc.load("adamw", defaults={"rl": 1.0})


def test_a_spec_with_a_mistake_raises_all_its_diagnostics():
    with pytest.raises(optc.SpecError) as caught:
        optc.compile("optimizer broken(lr = 0.1) { precondition adm()  tune step rl }")
    codes = {diagnostic.code for diagnostic in caught.value.diagnostics}
    assert len(codes) >= 2
    assert isinstance(caught.value, optc.OptcError)
