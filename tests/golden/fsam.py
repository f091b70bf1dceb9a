"""Functional-SAM with AdamW (arXiv:2502.02407).
Sharpness is regularised through the network function only: the Jacobian is taken
at the perturbed weights, the derivative of the loss at the unperturbed outputs.

Compiled from `optimizer/fsam.opt` by optc. Comments show the lines of the spec.
"""

import jax
import jax.numpy as jnp
from optc import runtime as rt

HYPERPARAMETERS = (
    rt.Hyperparameter(
        "lr",
        default=0.001,
        low=0.0,
        low_open=True,
        high=1.0,
        high_open=True,
        line="optimizer/fsam.opt:8",
    ),
    rt.Hyperparameter("rho", default=0.1, low=0.0, line="optimizer/fsam.opt:8"),
    rt.Hyperparameter(
        "total",
        default=10000,
        static=True,
        type="int",
        line="optimizer/fsam.opt:8",
    ),
)


def in_matrices(tensor):
    return tensor.ndim >= 2


LIMITED = (rt.Limited("decay", in_matrices),)


def sets(w, h):
    """What tells tensors apart that may lie together."""
    return (rt.mask(w, in_matrices),)


def init(w, h):
    """The slots of a fresh state."""
    return {"precondition": {"mu": rt.zeros(w), "nu": rt.zeros(w)}}


@rt.per_tensor
def perturb(g, w, ratio):
    # 9 | perturb functional_sam(radius = rho)
    return w + ratio * g


@rt.per_tensor
def update(g, mu, nu, w, matrices, scale, scaled_eps, ratio, eta):
    # 10 | clip global_norm(1.0)
    g = scale * g
    # 11 | precondition adam(b1 = 0.9, b2 = 0.95)
    b1, b2 = 0.9, 0.95
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * g**2
    u = ratio * mu / (jnp.sqrt(nu) + scaled_eps)
    # 12 | decay weights(0.1) where ndim >= 2
    rate = 0.1
    if matrices:
        u = u + rate * w
    # 13 | tune step warmup_cosine(peak = lr, warmup = 0.02 * total, total = total)
    step = eta * u
    return mu, nu, step


@rt.per_tensor
def sharpness_v(v, choice):
    # 16 | observe sharpness(iterations = 8) as sharpness every 500
    return v / choice


def step(w, slots, t, h, oracles):
    """One step from the weights `w`, the `t`-th."""
    matrices = rt.mask(w, in_matrices)
    lr, rho, total = h["lr"], h["rho"], h["total"]
    mu, nu = slots["precondition"]["mu"], slots["precondition"]["nu"]
    at_w = oracles.at(w, "loss", "grad", "outputs_grad")
    g = at_w.grad
    # 9 | perturb functional_sam(radius = rho)
    grad_norm = rt.norm(g)
    ratio = rho / jnp.maximum(grad_norm, 1e-16)
    point = perturb(g, w, ratio)
    at_point = oracles.at(point, "pullback")
    g = at_point.pullback(at_w.outputs_grad)
    # 10 | clip global_norm(1.0)
    limit = 1.0
    scale = jnp.minimum(1, limit / rt.norm(g))
    # 11 | precondition adam(b1 = 0.9, b2 = 0.95)
    b2, eps, b1 = 0.95, 1e-08, 0.9
    one_minus_b2_to_t_sqrt = jnp.sqrt(1 - b2**t)
    scaled_eps = eps * one_minus_b2_to_t_sqrt
    ratio = one_minus_b2_to_t_sqrt / (1 - b1**t)
    # 13 | tune step warmup_cosine(peak = lr, warmup = 0.02 * total, total = total)
    warmup = 0.02 * total
    ratio_2 = (t - warmup) / (total - warmup)
    eta = jnp.where(
        t <= warmup,
        lr * t / max(warmup, 1),
        lr * (1 + jnp.cos(jnp.pi * jnp.clip(ratio_2, 0, 1))) / 2,
    )
    mu, nu, step = update(g, mu, nu, w, matrices, scale, scaled_eps, ratio, eta)

    # 16 | observe sharpness(iterations = 8) as sharpness every 500
    def do_sharpness():
        iterations = 8
        at_w = oracles.at(w, "hvp")
        v = rt.normal(oracles.key, 1, w)

        def body_sharpness(i, v, value):
            v_norm = rt.norm(v)
            choice = jnp.where(v_norm > 0, v_norm, 1)
            v = sharpness_v(v, choice)
            product = at_w.hvp(v)
            value = rt.dot(v, product)
            return product, value

        _, value = rt.repeat(iterations, body_sharpness, (v, 0.0))
        return value

    def skip_sharpness():
        return jnp.nan

    sharpness = jax.lax.cond((t - 1) % 500 == 0, do_sharpness, skip_sharpness)
    return rt.Outcome(
        step=step,
        loss=at_w.loss,
        slots={"precondition": {"mu": mu, "nu": nu}},
        observed={"grad_norm": grad_norm, "sharpness": sharpness},
    )


fsam = rt.Program(
    name="fsam",
    doc=__doc__,
    source_file="optimizer/fsam.opt",
    hyperparameters=HYPERPARAMETERS,
    needs={
        "grad": "optimizer/fsam.opt:9 | perturb functional_sam(radius = rho)",
        "outputs_grad": "optimizer/fsam.opt:9 | perturb functional_sam(radius = rho)",
        "pullback": "optimizer/fsam.opt:9 | perturb functional_sam(radius = rho)",
        "hvp": "optimizer/fsam.opt:16 | observe sharpness(iterations = 8) as sharpness every 500",
    },
    init=init,
    step=step,
    random=True,
    observed=("grad_norm", "sharpness"),
    limited=LIMITED,
    packs=True,
    sets=sets,
)
