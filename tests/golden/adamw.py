"""Adam with decoupled weight decay (arXiv:1711.05101).
The decay is multiplied by the rate, as in torch and optax; the paper scales it by the schedule
alone. It acts on every tensor.

Compiled from `optimizer/adamw.opt` by optc. Comments show the lines of the spec.
"""

import jax.numpy as jnp
from optc import runtime as rt

HYPERPARAMETERS = (
    rt.Hyperparameter("lr", default=0.001, low=0.0, line="optimizer/adamw.opt:7"),
    rt.Hyperparameter(
        "b1",
        default=0.9,
        low=0.0,
        high=1.0,
        high_open=True,
        line="optimizer/adamw.opt:8",
    ),
    rt.Hyperparameter(
        "b2",
        default=0.999,
        low=0.0,
        high=1.0,
        high_open=True,
        line="optimizer/adamw.opt:9",
    ),
    rt.Hyperparameter("eps", default=1e-08, low=0.0, line="optimizer/adamw.opt:10"),
    rt.Hyperparameter("decay", default=0.01, low=0.0, line="optimizer/adamw.opt:11"),
)


def init(w, h):
    """The slots of a fresh state."""
    return {"precondition": {"mu": rt.zeros(w), "nu": rt.zeros(w)}}


@rt.per_tensor
def update(
    mu,
    g,
    nu,
    w,
    b1,
    one_minus_b1,
    b2,
    one_minus_b2,
    scaled_eps,
    factor,
    lr_times_decay,
):
    # 13 | precondition adam(b1, b2, eps)
    mu = b1 * mu + one_minus_b1 * g
    nu = b2 * nu + one_minus_b2 * g**2
    # 14 | decay weights(decay)
    # 15 | tune step lr
    step = factor * (mu / (jnp.sqrt(nu) + scaled_eps)) + lr_times_decay * w
    return mu, nu, step


def step(w, slots, t, h, oracles):
    """One step from the weights `w`, the `t`-th."""
    lr, b1, b2, eps, decay = h["lr"], h["b1"], h["b2"], h["eps"], h["decay"]
    mu, nu = slots["precondition"]["mu"], slots["precondition"]["nu"]
    at_w = oracles.at(w, "loss", "grad")
    g = at_w.grad
    # 13 | precondition adam(b1, b2, eps)
    one_minus_b1 = 1 - b1
    one_minus_b2 = 1 - b2
    # 15 | tune step lr
    one_minus_b2_to_t_sqrt = jnp.sqrt(1 - b2**t)
    scaled_eps = eps * one_minus_b2_to_t_sqrt
    factor = lr * one_minus_b2_to_t_sqrt / (1 - b1**t)
    lr_times_decay = lr * decay
    mu, nu, step = update(
        mu,
        g,
        nu,
        w,
        b1,
        one_minus_b1,
        b2,
        one_minus_b2,
        scaled_eps,
        factor,
        lr_times_decay,
    )
    # 17 | observe norm(g) as grad_norm
    grad_norm = rt.norm(g)
    return rt.Outcome(
        step=step,
        loss=at_w.loss,
        slots={"precondition": {"mu": mu, "nu": nu}},
        observed={"grad_norm": grad_norm},
    )


adamw = rt.Program(
    name="adamw",
    doc=__doc__,
    source_file="optimizer/adamw.opt",
    hyperparameters=HYPERPARAMETERS,
    needs={"grad": "optimizer/adamw.opt:13 | precondition adam(b1, b2, eps)"},
    init=init,
    step=step,
    observed=("grad_norm",),
    packs=True,
)
