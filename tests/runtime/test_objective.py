"""Objectives: equal by their functions, checked where they meet a program."""

import re

import jax.numpy as jnp
import pytest
from programs import fsam, sgd

from optc import runtime as rt
from optc.runtime.needs import check_objective


def loss(params, batch):
    return jnp.sum(params["w"])


def test_objectives_of_the_same_functions_are_equal(model):
    assert rt.Objective(loss=loss) == rt.Objective(loss=loss)
    assert hash(model.split) == hash(model.split)
    assert model.split != model.whole
    assert rt.Objective(loss=lambda p, b: 0.0) != rt.Objective(loss=lambda p, b: 0.0)


def test_an_objective_does_not_change():
    with pytest.raises(AttributeError, match="cannot assign"):
        rt.Objective(loss=loss).loss = print


def test_an_objective_is_made_of_functions():
    with pytest.raises(TypeError, match="`loss` of an objective is a function, not a float"):
        rt.Objective(loss=1.0)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (lambda w: w, r"float32\[3\]"),
        (lambda w: jnp.argmax(w), r"int32\[\]"),
        (lambda w: (jnp.sum(w), 1, 2), "a tuple of 3"),
        (lambda w: "loss", "a str"),
    ],
)
def test_a_loss_that_is_not_one_float_is_refused(returned, found):
    objective = rt.Objective(loss=lambda params, batch: returned(params["w"]))
    with pytest.raises(TypeError, match=found):
        objective.value({"w": jnp.ones(3)}, None)


def test_a_function_must_be_wrapped():
    state = sgd().init({"w": jnp.ones(2)})
    with pytest.raises(TypeError, match=r"wrap the loss function: optc.Objective\(loss=...\)"):
        sgd().step({"w": jnp.ones(2)}, state, None, loss)


def test_a_program_that_needs_outputs_refuses_a_whole_loss():
    with pytest.raises(ValueError, match="needs the model's outputs") as raised:
        fsam().transform(rt.Objective(loss=loss))
    assert "`outputs_grad`, which program.opt:9 | perturb functional_sam" in str(raised.value)
    assert "optc.Objective(outputs=..., loss=...)" in str(raised.value)


@pytest.mark.parametrize(
    ("oracle", "objective", "told"),
    [
        ("ggn", rt.Objective(loss=loss), "optc.Objective(outputs=..., loss=...)"),
        ("per_example_grad", rt.Objective(loss=loss), "optc.Objective(..., batch_axis=0)"),
        (
            "sampled_outputs_grad",
            rt.Objective(outputs=loss, loss=loss),
            "optc.Objective(..., sampler=f) with f(outputs, batch, key)",
        ),
    ],
)
def test_what_an_objective_lacks_is_told_with_the_line_that_asks(oracle, objective, told):
    with pytest.raises(ValueError, match=re.escape(told)) as raised:
        check_objective(objective, {"grad": "x.opt:1", oracle: "x.opt:2 | perturb rule()"})
    assert f"the oracle `{oracle}`, which x.opt:2 | perturb rule() asks for" in str(raised.value)


def test_an_objective_shows_what_was_said():
    objective = rt.Objective(loss=loss, batch_axis=0, micro_batches=2)
    assert repr(objective) == f"Objective(loss={loss!r}, batch_axis=0, micro_batches=2)"
    assert objective != rt.Objective(loss=loss, batch_axis=0)
