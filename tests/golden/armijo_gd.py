"""Gradient descent with a backtracking line search (Armijo 1966).

Compiled from `optimizer/armijo_gd.opt` by optc. Comments show the lines of the spec.
"""

import jax
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
    start = 1.0
    return {"tune": {"learning_rate": start}}


@rt.per_tensor
def tune(g, w, trial):
    # 3 | tune step armijo(c = c, max_step = max_step)
    return w - trial * g


@rt.per_tensor
def update(g, eta):
    # 3 | tune step armijo(c = c, max_step = max_step)
    return eta * g


def step(w, slots, t, h, oracles):
    """One step from the weights `w`, the `t`-th."""
    c, max_step = h["c"], h["max_step"]
    learning_rate = slots["tune"]["learning_rate"]
    at_w = oracles.at(w, "loss", "grad")
    loss = at_w.loss
    g = at_w.grad
    # 3 | tune step armijo(c = c, max_step = max_step)
    slope = rt.dot(g, g)

    def do_tune():
        grow = 1.5
        trial = jnp.minimum(jnp.where(t == 1, 1, grow) * learning_rate, max_step)

        def body_tune(i, eta, trial):
            shrink = 0.8
            point = tune(g, w, trial)
            at_point = oracles.at(point, "loss")
            value = at_point.loss
            accepted = jnp.logical_and(
                jnp.isfinite(value),
                value <= loss - c * trial * slope,
            )
            eta = jnp.where(accepted, trial, 0)
            trial = jnp.where(accepted, trial, shrink * trial)
            return eta, trial

        def while_tune(eta, trial):
            return eta == 0

        eta, trial = rt.repeat(31, body_tune, (0.0, trial), while_tune)
        learning_rate_2 = jnp.maximum(trial, 1e-30)
        return learning_rate_2, eta

    def skip_tune():
        return learning_rate, 0.0

    learning_rate, eta = jax.lax.cond(
        jnp.logical_and(slope > 0, jnp.isfinite(loss)),
        do_tune,
        skip_tune,
    )
    step = update(g, eta)
    # 5 | observe norm(g) as grad_norm
    grad_norm = rt.norm(g)
    return rt.Outcome(
        step=step,
        loss=loss,
        slots={"tune": {"learning_rate": learning_rate}},
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
    packs=True,
)
