"""Expressions over optax: what they make, which claims of the library they are, what is refused."""

import jax.numpy as jnp
import optax
import pytest

from optc.api.claimant import claimant
from optc.api.twins import ALLOWED, TwinError, expression, names, value


def test_an_expression_makes_the_transformation_of_optax():
    made = value(
        expression("chain(clip_by_global_norm(2 / 4), sgd(lr, momentum = 0.9))"), {"lr": 1}
    )
    params = {"w": jnp.array([3.0, 4.0])}
    expected = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(1, momentum=0.9))
    found, wanted = (t.update(params, t.init(params))[0]["w"] for t in (made, expected))
    assert found.tolist() == wanted.tolist()


def test_a_schedule_is_an_argument():
    text = "scale_by_learning_rate(optax.linear_schedule(1.0, 0.0, 4))"
    made = value(expression(text), {})
    state = made.init({})
    first, state = made.update({"w": jnp.ones(())}, state)
    second, _ = made.update({"w": jnp.ones(())}, state)
    assert (float(first["w"]), float(second["w"])) == (-1.0, -0.75)


def test_names_are_those_that_need_a_value():
    found = names(expression("optax.adamw(lr, b1 = 1 - beta, nesterov = false, eps = inf)"))
    assert list(found) == ["lr", "beta"]


@pytest.mark.parametrize(
    ("text", "optimizer", "values"),
    [
        ("adam(1e-3)", "adam", {"lr": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8}),
        ("optax.sgd(0.1)", "sgd", {"lr": 0.1}),
        ("sgd(0.1, 0.5)", "momentum", {"lr": 0.1, "momentum": 0.5}),
        ("sgd(0.1, momentum = 0.5, nesterov = true)", "sgd_nesterov", {"lr": 0.1, "momentum": 0.5}),
        (
            "chain(add_decayed_weights(0.1), sgd(0.5, 0.9))",
            "sgd_coupled",
            {"lr": 0.5, "momentum": 0.9, "decay": 0.1},
        ),
        ("contrib.dadapt_adamw(1.0, tuple(0.8, 0.9))", "dadapt_adamw", {"b1": 0.8, "b2": 0.9}),
        ("contrib.mechanize(sgd(0.3))", "mechanic_sgd", {"lr": 0.3}),
        ("contrib.adopt(lr, use_clipping = false)", "adopt_unclipped", {"lr": 0.2}),
    ],
)
def test_the_optimizer_that_claims_an_expression_is_found(text, optimizer, values):
    name, found = claimant(expression(text), {"lr": 0.2})
    assert name == optimizer
    assert values.items() <= found.items()


@pytest.mark.parametrize(
    "text",
    [
        "adam(1e-3, nesterov = true, eps_root = 0.1)",  # no parameter of ours says this
        "adam(linear_schedule(1.0, 0.0, 10))",
        "clip(1.0)",
        "chain(add_decayed_weights(0.1))",
        "chain(add_decayed_weights(0.1), sgd(0.5, 0.9), clip(1.0))",
        "chain(sgd(0.5, 0.9), add_decayed_weights(0.1))",
    ],
)
def test_nothing_claims_what_no_parameter_says(text):
    assert claimant(expression(text), {}) is None


@pytest.mark.parametrize(
    "text",
    ["", "adam(", "1; 2", "x => x", 'adam(1)\nuse "x.opt"', "import os", "lambda: 1", "a[0]"],
)
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(TwinError, match="no expression"):
        expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')".replace("'", '"'),
        "optax.os.system(1)",
        "adam.__class__(1)",
        "__import__(1)",
        "apply_updates(1, 2)",
        "adam(1).init",
        "not adam(1)",
        "nothing",
    ],
)
def test_what_is_not_allowed_is_never_called(text):
    with pytest.raises(TwinError):
        value(expression(text), {})


def test_everything_that_may_be_called_is_a_public_function_of_optax():
    for path, function in ALLOWED.items():
        assert not path.rpartition(".")[2].startswith("_")
        assert callable(function)
