"""Programs written by hand in the form in which the compiler writes them."""

import jax
import jax.numpy as jnp

from optc import runtime as rt

LR = rt.Hyperparameter("lr", 0.1, low=0.0, high=10.0, low_open=True, line="program.opt:2")
RHO = rt.Hyperparameter("rho", 0.05, low=0.0, line="program.opt:3")


@rt.per_tensor
def scaled(x, factor):
    return factor * x


@rt.per_tensor
def ascend(w, g, rho, g_norm):
    return w + rho * g / g_norm


def _sgd_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad")
    return rt.Outcome(loss=at_w.loss, step=scaled(at_w.grad, h["lr"]), slots={})


sgd = rt.Program(
    "sgd",
    doc="Gradient descent.",
    hyperparameters=[LR],
    needs={"grad": "program.opt:2 optimizer sgd"},
    init=lambda w, h: {},
    step=_sgd_step,
)


def _adamw_init(w, h):
    return {"precondition": {"mu": rt.zeros(w), "nu": rt.zeros(w)}}


@rt.per_tensor
def adamw_descend(g, mu, nu, w, matrices, lr, b1, b2, eps, decay, mu_debias, nu_debias):
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * (g * g)
    u = (mu / mu_debias) / (jnp.sqrt(nu / nu_debias) + eps)
    if matrices:
        u = u + decay * w
    return mu, nu, lr * u


def _adamw_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad")
    state = slots["precondition"]
    mu, nu, delta = adamw_descend(
        at_w.grad,
        state["mu"],
        state["nu"],
        w,
        rt.mask(w, lambda tensor: tensor.ndim >= 2),
        h["lr"],
        h["b1"],
        h["b2"],
        h["eps"],
        h["decay"],
        1 - h["b1"] ** t,
        1 - h["b2"] ** t,
    )
    slots = {"precondition": {"mu": mu, "nu": nu}}
    return rt.Outcome(loss=at_w.loss, step=delta, slots=slots)


adamw = rt.Program(
    "adamw",
    doc="Adam with decay of the matrices.",
    hyperparameters=[
        LR,
        rt.Hyperparameter("b1", 0.9, low=0.0, high=1.0, high_open=True, line="program.opt:4"),
        rt.Hyperparameter("b2", 0.999, low=0.0, high=1.0, high_open=True, line="program.opt:5"),
        rt.Hyperparameter("eps", 1e-8, low=0.0, line="program.opt:6"),
        rt.Hyperparameter("decay", 0.01, low=0.0, line="program.opt:7"),
    ],
    needs={"grad": "program.opt:2 optimizer adamw"},
    init=_adamw_init,
    step=_adamw_step,
)


def _sam_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad")
    g_norm = rt.norm(at_w.grad)
    point = ascend(w, at_w.grad, h["rho"], g_norm)
    g = oracles.at(point, "grad").grad
    return rt.Outcome(
        loss=at_w.loss, step=scaled(g, h["lr"]), slots={}, observed={"grad_norm": g_norm}
    )


sam = rt.Program(
    "sam",
    hyperparameters=[LR, RHO],
    needs={"grad": "program.opt:8 | perturb sam(radius = rho)"},
    init=lambda w, h: {},
    step=_sam_step,
    observed=("grad_norm",),
)


def _fsam_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad", "outputs_grad")
    point = ascend(w, at_w.grad, h["rho"], rt.norm(at_w.grad))
    g = oracles.at(point, "pullback").pullback(at_w.outputs_grad)
    return rt.Outcome(loss=at_w.loss, step=scaled(g, h["lr"]), slots={})


fsam = rt.Program(
    "fsam",
    hyperparameters=[LR, RHO],
    needs={
        "grad": "program.opt:2 optimizer fsam",
        "outputs_grad": "program.opt:9 | perturb functional_sam(radius = rho)",
        "pullback": "program.opt:9 | perturb functional_sam(radius = rho)",
    },
    init=lambda w, h: {},
    step=_fsam_step,
)


def _cdat_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad", "curvature")
    g = at_w.grad
    eta = h["scale"] * rt.dot(g, g) / jnp.abs(at_w.curvature(g))
    return rt.Outcome(loss=at_w.loss, step=scaled(g, eta), slots={}, observed={"eta": eta})


cdat = rt.Program(
    "cdat",
    hyperparameters=[rt.Hyperparameter("scale", 1.0, low=0.0, line="program.opt:10")],
    needs={
        "grad": "program.opt:2 optimizer cdat",
        "curvature": "program.opt:10 | tune step cdat(scale)",
    },
    init=lambda w, h: {},
    step=_cdat_step,
    observed=("eta",),
)


def _polyak_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad")
    eta = at_w.loss / rt.dot(at_w.grad, at_w.grad)
    return rt.Outcome(loss=at_w.loss, step=scaled(at_w.grad, eta), slots={})


polyak = rt.Program(
    "polyak",
    needs={"grad": "program.opt:2 optimizer polyak", "loss": "program.opt:11 | tune step polyak()"},
    init=lambda w, h: {},
    step=_polyak_step,
)


@rt.per_tensor
def average(x, w_next, beta):
    return beta * x + (1 - beta) * w_next


def _averaged_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad")
    w_next = average(w, w, 0.0)
    w_next = rt.per_tensor(lambda w, g, lr: w - lr * g)(w_next, at_w.grad, h["lr"])
    x = average(slots["average"]["x"], w_next, h["beta"])
    return rt.Outcome(loss=at_w.loss, weights=w_next, slots={"average": {"x": x}})


averaged = rt.Program(
    "averaged",
    hyperparameters=[LR, rt.Hyperparameter("beta", 0.5, low=0.0, high=1.0)],
    needs={"grad": "program.opt:2 optimizer averaged"},
    init=lambda w, h: {"average": {"x": rt.copy(w)}},
    step=_averaged_step,
    evaluate=lambda w, slots, t, h: slots["average"]["x"],
)


def _guarded_step(w, slots, t, h, oracles):
    at_w = oracles.at(w, "loss", "grad")
    finite = rt.all(rt.per_tensor(jnp.isfinite)(at_w.grad))
    w_next, skipped = jax.lax.cond(
        finite,
        lambda: (subtract(w, at_w.grad, h["lr"]), slots["guard"]["skipped"]),
        lambda: (w, slots["guard"]["skipped"] + 1),
    )
    slots = {"guard": {"skipped": skipped}}
    return rt.Outcome(loss=at_w.loss, weights=w_next, slots=slots, applied=finite)


@rt.per_tensor
def subtract(w, g, lr):
    return w - lr * g


guarded = rt.Program(
    "guarded",
    hyperparameters=[LR],
    needs={"grad": "program.opt:2 optimizer guarded"},
    init=lambda w, h: {"guard": {"skipped": 0.0}},
    step=_guarded_step,
)


def _noisy_step(w, slots, t, h, oracles):
    noise = rt.normal(oracles.key, 0, w)
    point = rt.per_tensor(lambda w, noise: w + 0.1 * noise)(w, noise)
    g = oracles.at(point, "grad").grad
    trace = rt.per_tensor(lambda trace, g: 0.9 * trace + g)(slots["precondition"]["trace"], g)
    stored = rt.round_stochastic(oracles.key, 1, trace, "bfloat16")
    return rt.Outcome(
        loss=oracles.at(w, "loss").loss,
        step=scaled(trace, h["lr"]),
        slots={"precondition": {"trace": stored}},
    )


noisy = rt.Program(
    "noisy",
    hyperparameters=[LR],
    needs={"grad": "program.opt:12 | perturb weight_noise(0.1)"},
    init=lambda w, h: {"precondition": {"trace": rt.stored(rt.zeros(w), "bfloat16")}},
    step=_noisy_step,
    random=True,
)

PLAIN = (sgd, adamw, sam, cdat, polyak, averaged, guarded, noisy)
"""Those that a plain loss serves."""
