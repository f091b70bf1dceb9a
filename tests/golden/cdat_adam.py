"""Adam's direction at the edge of stability (CDAT, arXiv:2407.06183).
Without a limit the step size can run away as the direction vanishes, so there is one.

Compiled from `optimizer/cdat_adam.opt` by optc. Comments show the lines of the spec.
"""

import jax.numpy as jnp
from optc import runtime as rt

HYPERPARAMETERS = (
    rt.Hyperparameter("scale", default=2.0, low=0.0, line="optimizer/cdat_adam.opt:6"),
    rt.Hyperparameter(
        "beta",
        default=0.9,
        low=0.0,
        high=1.0,
        high_open=True,
        line="optimizer/cdat_adam.opt:7",
    ),
    rt.Hyperparameter(
        "b1",
        default=0.9,
        low=0.0,
        high=1.0,
        high_open=True,
        line="optimizer/cdat_adam.opt:8",
    ),
    rt.Hyperparameter(
        "b2",
        default=0.999,
        low=0.0,
        high=1.0,
        high_open=True,
        line="optimizer/cdat_adam.opt:9",
    ),
    rt.Hyperparameter(
        "max_step",
        default=1.0,
        low=0.0,
        low_open=True,
        line="optimizer/cdat_adam.opt:10",
    ),
)


def init(w, h):
    """The slots of a fresh state."""
    return {
        "precondition": {"mu": rt.zeros(w), "nu": rt.zeros(w)},
        "tune": {"slope": 0.0, "curvature": 0.0},
    }


@rt.per_tensor
def precondition(mu, g, nu, b1, one_minus_b1, b2, one_minus_b2, scaled_eps, ratio):
    # 12 | precondition adam(b1, b2)
    mu = b1 * mu + one_minus_b1 * g
    nu = b2 * nu + one_minus_b2 * g**2
    u = ratio * mu / (jnp.sqrt(nu) + scaled_eps)
    return mu, nu, u


@rt.per_tensor
def update(u, eta):
    # 13 | tune step cdat(scale, beta, max_step = max_step)
    return eta * u


def step(w, slots, t, h, oracles):
    """One step from the weights `w`, the `t`-th."""
    scale = h["scale"]
    beta = h["beta"]
    b1 = h["b1"]
    b2 = h["b2"]
    max_step = h["max_step"]
    mu, nu = slots["precondition"]["mu"], slots["precondition"]["nu"]
    slope, curvature = slots["tune"]["slope"], slots["tune"]["curvature"]
    at_w = oracles.at(w, "loss", "grad", "curvature")
    g = at_w.grad
    # 12 | precondition adam(b1, b2)
    eps = 1e-08
    one_minus_b1 = 1 - b1
    one_minus_b2 = 1 - b2
    one_minus_b2_to_t_sqrt = jnp.sqrt(1 - b2**t)
    scaled_eps = eps * one_minus_b2_to_t_sqrt
    ratio = one_minus_b2_to_t_sqrt / (1 - b1**t)
    mu, nu, u = precondition(
        mu,
        g,
        nu,
        b1,
        one_minus_b1,
        b2,
        one_minus_b2,
        scaled_eps,
        ratio,
    )
    # 13 | tune step cdat(scale, beta, max_step = max_step)
    eps_2 = 1e-12
    falls = jnp.maximum(rt.dot(g, u), 0)
    bends = jnp.abs(at_w.curvature(u)) + eps_2
    sound = jnp.logical_and(jnp.isfinite(falls), jnp.isfinite(bends))
    one_minus_beta = 1 - beta
    slope = jnp.where(sound, beta * slope + one_minus_beta * falls, slope)
    curvature = jnp.where(sound, beta * curvature + one_minus_beta * bends, curvature)
    eta = jnp.where(sound, jnp.minimum(max_step, scale * slope / curvature), 0)
    step = update(u, eta)
    # 15 | observe norm(g) as grad_norm
    grad_norm = rt.norm(g)
    return rt.Outcome(
        step=step,
        loss=at_w.loss,
        slots={
            "precondition": {"mu": mu, "nu": nu},
            "tune": {"slope": slope, "curvature": curvature},
        },
        observed={"grad_norm": grad_norm, "step_size": eta},
    )


cdat_adam = rt.Program(
    name="cdat_adam",
    doc=__doc__,
    source_file="optimizer/cdat_adam.opt",
    hyperparameters=HYPERPARAMETERS,
    needs={
        "grad": "optimizer/cdat_adam.opt:12 | precondition adam(b1, b2)",
        "hvp": "optimizer/cdat_adam.opt:13 | tune step cdat(scale, beta, max_step = max_step)",
    },
    init=init,
    step=step,
    observed=("grad_norm", "step_size"),
    packs=True,
)
