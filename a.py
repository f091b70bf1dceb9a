"""The optimizer `a`.

Compiled from `/tmp/revpass/k.opt` by optc 0.1.0. Comments show the lines of the spec.
"""

from optc import runtime as rt

HYPERPARAMETERS = (
    rt.Hyperparameter("lr", default=0.1, low=0.0, line="/tmp/revpass/k.opt:6"),
    rt.Hyperparameter(
        "k",
        default=0,
        static=True,
        type="int",
        line="/tmp/revpass/k.opt:6",
    ),
)


def init(w, h):
    """The slots of a fresh state."""
    return {"precondition": {"m": rt.zeros(w)}}


@rt.per_tensor
def precondition(m, g):
    # 7 | precondition pick(k)
    return 0.9 * m + g


@rt.per_tensor
def precondition_m(m, g):
    # 7 | precondition pick(k)
    return 0.5 * m + g


@rt.per_tensor
def update(m, lr):
    # 8 | tune step lr
    return lr * m


def step(w, slots, t, h, oracles):
    """One step from the weights `w`, the `t`-th."""
    lr, k = h["lr"], h["k"]
    m = slots["precondition"]["m"]
    at_w = oracles.at(w, "loss", "grad")
    g = at_w.grad
    # 7 | precondition pick(k)
    if 10 % k == 1:
        m_2 = precondition(m, g)
        m = m_2
    else:
        m_2 = precondition_m(m, g)
        m = m_2
    # 8 | tune step lr
    step = update(m, lr)
    return rt.Outcome(step=step, loss=at_w.loss, slots={"precondition": {"m": m}})


a = rt.Program(
    name="a",
    doc=__doc__,
    source_file="/tmp/revpass/k.opt",
    hyperparameters=HYPERPARAMETERS,
    needs={"grad": "/tmp/revpass/k.opt:7 | precondition pick(k)"},
    init=init,
    step=step,
    packs=True,
)
