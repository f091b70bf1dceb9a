"""Gradient descent with a backtracking line search (Armijo 1966).

Compiled from `optimizer/armijo_gd.opt` by optc. Comments show the lines of the spec.
"""

import jax.numpy as jnp
from optc import runtime as rt

HYPERPARAMETERS = (
    rt.Hyperparameter(
        "c",
        default=0.0001,
        low=0.0,
        low_open=True,
        high=1.0,
        high_open=True,
        line="optimizer/armijo_gd.opt:2",
    ),
    rt.Hyperparameter(
        "max_step",
        default=1.0,
        low=0.0,
        low_open=True,
        line="optimizer/armijo_gd.opt:2",
    ),
)


def init(w, h):
    """The slots of a fresh state."""
    start, grow = 1.0, 1.5
    return {"tune": {"last": start / grow}}


@rt.per_tensor
def tune(g, w, eta):
    # 3 | tune step armijo(c = c, max_step = max_step)
    return w - eta * g


@rt.per_tensor
def update(g, eta):
    # 3 | tune step armijo(c = c, max_step = max_step)
    return eta * g


def step(w, slots, t, h, oracles):
    """One step from the weights `w`, the `t`-th."""
    c, max_step = h["c"], h["max_step"]
    last = slots["tune"]["last"]
    at_w = oracles.at(w, "loss", "grad")
    loss = at_w.loss
    g = at_w.grad
    # 3 | tune step armijo(c = c, max_step = max_step)
    grow, limit = 1.5, 30
    eta = jnp.minimum(grow * last, max_step)
    slope = rt.dot(g, g)

    def body_tune(i, eta):
        shrink = 0.8
        eta = shrink * eta
        return (eta,)

    def while_tune(eta):
        point = tune(g, w, eta)
        at_point = oracles.at(point, "loss")
        return jnp.logical_not(at_point.loss <= loss - c * eta * slope)

    (eta,) = rt.repeat(limit, body_tune, (eta,), while_tune)
    step = update(g, eta)
    # 5 | observe norm(g) as grad_norm
    grad_norm = rt.norm(g)
    return rt.Outcome(
        step=step,
        loss=loss,
        slots={"tune": {"last": eta}},
        observed={"grad_norm": grad_norm, "step_size": eta},
    )


armijo_gd = rt.Program(
    name="armijo_gd",
    doc=__doc__,
    source_file="optimizer/armijo_gd.opt",
    hyperparameters=HYPERPARAMETERS,
    needs={
        "loss": "optimizer/armijo_gd.opt:3 | tune step armijo(c = c, max_step = max_step)",
        "grad": "optimizer/armijo_gd.opt:3 | tune step armijo(c = c, max_step = max_step)",
    },
    init=init,
    step=step,
    observed=("grad_norm", "step_size"),
)
