"""Values are checked when they are bound, with the spec line in the message."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optc import runtime as rt
from optc.runtime.hyperparameters import bind

LR = rt.Hyperparameter("lr", 0.1, low=0.0, high=1.0, low_open=True, high_open=True, line="a.opt:2")
TOTAL = rt.Hyperparameter("total", 10, low=1, static=True, line="a.opt:3")
NESTEROV = rt.Hyperparameter("nesterov", False, static=True, line="a.opt:4")
MODE = rt.Hyperparameter("mode", "mean", static=True, line="a.opt:5")
WARMUP = rt.Hyperparameter("warmup", lambda h: h["total"] / 5)
ALL = (LR, TOTAL, NESTEROV, MODE, WARMUP)


def test_defaults_may_use_earlier_values():
    assert bind(ALL, {"total": 50}) == {
        "lr": 0.1,
        "total": 50,
        "nesterov": False,
        "mode": "mean",
        "warmup": 10.0,
    }


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"lr": 0.0}, ValueError, "`lr` is 0.0; it must be above 0.0 and below 1.0 (a.opt:2)"),
        ({"lr": 2}, ValueError, "`lr` is 2.0; it must be above 0.0 and below 1.0 (a.opt:2)"),
        ({"lr": float("nan")}, ValueError, "`lr` is nan; it must be finite (a.opt:2)"),
        ({"lr": True}, TypeError, "`lr` is True; it must be a number (a.opt:2)"),
        ({"lr": "0.1"}, TypeError, "`lr` is '0.1'; it must be a number (a.opt:2)"),
        ({"lr": np.ones(2)}, ValueError, "`lr` has shape (2,); it must be one number (a.opt:2)"),
        ({"total": 0}, ValueError, "`total` is 0; it must be at least 1 (a.opt:3)"),
        ({"total": True}, TypeError, "`total` is True; it must be an int (a.opt:3)"),
        ({"total": 2.0}, TypeError, "`total` is 2.0; it must be an int (a.opt:3)"),
        ({"nesterov": 1}, TypeError, "`nesterov` is 1; it must be True or False (a.opt:4)"),
        ({"mode": 1}, TypeError, "`mode` is 1; it must be a string (a.opt:5)"),
        ({"totla": 1}, ValueError, "no hyperparameter is named `totla`; did you mean `total`?"),
    ],
)
def test_a_bad_value_is_refused(values, error, message):
    with pytest.raises(error) as raised:
        bind(ALL, values)
    assert str(raised.value) == message


def test_a_value_without_default_must_be_given():
    with pytest.raises(ValueError, match=r"`lr` has no default; give it a value \(a.opt:2\)"):
        bind([rt.Hyperparameter("lr", line="a.opt:2")], {})


def test_numpy_ints_and_scalar_arrays_are_numbers():
    bound = bind(ALL, {"total": np.int64(3), "lr": jnp.float32(0.5)})
    assert bound["total"] == 3
    assert type(bound["total"]) is int
    with pytest.raises(ValueError, match="`lr` is 5"):
        bind(ALL, {"lr": jnp.float32(5.0)})


def test_a_traced_value_skips_the_range():
    assert jax.jit(lambda lr: bind(ALL, {"lr": lr})["lr"] * 2)(7.0) == 14.0
