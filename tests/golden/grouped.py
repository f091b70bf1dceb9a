"""Momentum for hidden matrices and AdamW for everything else, as Muon is used.

Compiled from `<test>` by optc. Comments show the lines of the spec.
"""

import jax.numpy as jnp
from optc import runtime as rt

HYPERPARAMETERS = (
    rt.Hyperparameter("lr", default=0.02, line="<test>:3"),
    rt.Hyperparameter("adam_lr", default=0.0003, line="<test>:3"),
    rt.Hyperparameter("total", default=1000, static=True, type="int", line="<test>:3"),
)


def in_hidden(tensor):
    return tensor.ndim >= 2 and not rt.matches(tensor.path, "embed|head")


def in_rest(tensor):
    return not in_hidden(tensor)


GROUPS = (
    rt.Group(
        "hidden",
        takes=in_hidden,
        where='ndim >= 2 and not path matches "embed|head"',
        line="<test>:6",
    ),
    rt.Group("rest", line="<test>:11"),
)


def sets(w, h):
    """What tells tensors apart that may lie together."""
    return (rt.mask(w, in_hidden), rt.mask(w, in_rest))


def init(w, h):
    """The slots of a fresh state."""
    hidden = rt.mask(w, in_hidden)
    rest = rt.mask(w, in_rest)
    return {
        "hidden.precondition": {"trace": rt.zeros(w, hidden)},
        "rest.precondition": {"mu": rt.zeros(w, rest), "nu": rt.zeros(w, rest)},
    }


@rt.per_tensor
def update(g, trace, w, mu, nu, hidden, rest, scale, eta, scaled_eps, factor):
    # 4 | clip global_norm(1.0)
    g = scale * g
    # 7 | precondition nesterov(0.95)
    beta = 0.95
    if hidden:
        trace = g + beta * trace
        u = g + beta * trace
    # 8 | decay weights(0.01)
    rate = 0.01
    if hidden:
        u = u + rate * w
    # 9 | tune step wsd(peak = lr, warmup = 0.02 * total, total = total)
    if hidden:
        step = eta * u
    # 12 | precondition adam(b1 = 0.9, b2 = 0.95)
    b1, b2 = 0.9, 0.95
    if rest:
        mu = b1 * mu + (1 - b1) * g
        nu = b2 * nu + (1 - b2) * g**2
    # 13 | tune step wsd(peak = adam_lr, warmup = 0.02 * total, total = total)
    if rest:
        step = factor * (mu / (jnp.sqrt(nu) + scaled_eps))
    return trace, mu, nu, step


def step(w, slots, t, h, oracles):
    """One step from the weights `w`, the `t`-th."""
    hidden = rt.mask(w, in_hidden)
    rest = rt.mask(w, in_rest)
    lr, adam_lr, total = h["lr"], h["adam_lr"], h["total"]
    trace = slots["hidden.precondition"]["trace"]
    mu, nu = slots["rest.precondition"]["mu"], slots["rest.precondition"]["nu"]
    at_w = oracles.at(w, "loss", "grad")
    g = at_w.grad
    # 4 | clip global_norm(1.0)
    limit = 1.0
    grad_norm = rt.norm(g)
    scale = jnp.minimum(1, limit / grad_norm)
    # 9 | tune step wsd(peak = lr, warmup = 0.02 * total, total = total)
    share, start = 0.2, 1
    warmup = 0.02 * total
    least = jnp.minimum(t / max(warmup, 1), 1)
    s = jnp.clip((t - 0.8 * total) / (share * total), 0, 1)
    cooldown = start - s
    eta = lr * least * cooldown
    # 13 | tune step wsd(peak = adam_lr, warmup = 0.02 * total, total = total)
    b2, eps, b1 = 0.95, 1e-08, 0.9
    eta_2 = adam_lr * least * cooldown
    one_minus_b2_to_t_sqrt = jnp.sqrt(1 - b2**t)
    scaled_eps = eps * one_minus_b2_to_t_sqrt
    factor = eta_2 * one_minus_b2_to_t_sqrt / (1 - b1**t)
    trace, mu, nu, value = update(
        g,
        trace,
        w,
        mu,
        nu,
        hidden,
        rest,
        scale,
        eta,
        scaled_eps,
        factor,
    )
    return rt.Outcome(
        step=value,
        loss=at_w.loss,
        slots={
            "hidden.precondition": {"trace": trace},
            "rest.precondition": {"mu": mu, "nu": nu},
        },
        observed={"grad_norm": grad_norm},
    )


grouped = rt.Program(
    name="grouped",
    doc=__doc__,
    source_file="<test>",
    hyperparameters=HYPERPARAMETERS,
    needs={"grad": "<test>:4 | clip global_norm(1.0)"},
    init=init,
    step=step,
    observed=("grad_norm",),
    groups=GROUPS,
    packs=True,
    sets=sets,
)
