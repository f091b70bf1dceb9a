"""Trajectories of two released Shampoos on fixed gradients, and which of our optimizers they hold.

`shampoo.json` was written by

    python tests/data/references/shampoo.py meta FOLDER
    python -O tests/data/references/shampoo.py google FOLDER

with torch and a clone of github.com/facebookresearch/optimizers (commit f606606), and with JAX,
flax and a folder that has google-research's distributed_shampoo.py, as it is kept by
github.com/mlcommons/algorithmic-efficiency (commit 2c90454, in its archived baselines). Both run in
float64. An assertion of the latter compares a number with a tuple, so Python is told to make none,
and its AdaGrad fails, so it is not here. The tests read the data and need none of that.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

DATA = Path(__file__).with_suffix(".json")
SHAPES = ((3, 2), (2, 4))
STEPS = 10
KEPT = (1, 4, 10)
"""The steps after which the weights are written down."""
FALL = 16
"""The steps in which a rate that falls would be zero."""
RATE = 2**-5
"""Exact in float32, in which Meta's Shampoo keeps it."""


@dataclass(frozen=True)
class Case:
    """Settings of a released Shampoo, and the same in ours."""

    released: dict
    ours: str
    values: dict = field(default_factory=dict)
    rates: bool = False
    """Whether the rate falls from step to step, as `rates` has it."""


def _meta(
    ours="distributed_shampoo",
    graft=None,
    preconditioner=None,
    values=None,
    rates=False,
    **settings,
):
    shared = {"lr": RATE, "betas": (0.8, 0.9), "epsilon": 1e-6}
    mine = {"lr": RATE, "b1": 0.8, "b2": 0.9, "b3": 0.8, "eps": 1e-6}
    released = shared | settings | {"graft": graft, "preconditioner": preconditioner or {}}
    return Case(released, ours, mine | (values or {}), rates)


META = {
    "meta_sum": _meta(betas=(0.0, 1.0), values={"b1": 0.0, "b2": 1.0, "b3": 0.0}),
    "meta_average": _meta(),
    "meta_stale": _meta(
        precondition_frequency=3,
        start_preconditioning_step=4,
        values={"refresh": 3, "start": 4},
    ),
    "meta_adam": _meta(
        graft=("Adam", {"beta2": 0.95, "epsilon": 1e-5}),
        start_preconditioning_step=3,
        values={"start": 3, "graft": "adam", "graft_b2": 0.95, "graft_eps": 1e-5},
    ),
    "meta_rmsprop": _meta(
        graft=("RMSprop", {"beta2": 0.95, "epsilon": 1e-5}),
        beta3=0.6,
        use_bias_correction=False,
        values={
            "b3": 0.6,
            "bias_correction": False,
            "graft": "rmsprop",
            "graft_b2": 0.95,
            "graft_eps": 1e-5,
        },
    ),
    "meta_adagrad": _meta(
        graft=("AdaGrad", {"epsilon": 1e-5}),
        beta3=0.6,
        values={"b3": 0.6, "graft": "adagrad", "graft_eps": 1e-5},
    ),
    "meta_sgd": _meta(graft=("SGD", {}), values={"graft": "sgd"}),
    "meta_half": _meta(
        preconditioner={"inverse_exponent_override": {2: 0.5}},
        epsilon=1e-3,
        values={"exponent": 0.5, "eps": 1e-3},
    ),
    "meta_trace": _meta(
        preconditioner={"inverse_exponent_override": {2: 0.5}, "use_trace_scaling": True},
        epsilon=1e-3,
        values={"exponent": 0.5, "eps": 1e-3, "trace_scaling": True},
    ),
    "meta_blocks": _meta(
        "distributed_shampoo_blocked", max_preconditioner_dim=2, values={"limit": 2}
    ),
    "meta_blocks_adam": _meta(
        "distributed_shampoo_blocked",
        graft=("Adam", {"beta2": 0.95, "epsilon": 1e-5}),
        max_preconditioner_dim=2,
        values={"limit": 2, "graft": "adam", "graft_b2": 0.95, "graft_eps": 1e-5},
    ),
    "meta_momentum": _meta(
        "distributed_shampoo_momentum", momentum={"momentum": 0.7}, values={"momentum": 0.7}
    ),
    "meta_nesterov": _meta(
        "distributed_shampoo_momentum",
        momentum={"momentum": 0.7, "use_nesterov": True},
        values={"momentum": 0.7, "nesterov": True},
    ),
    "meta_decay": _meta(weight_decay=0.1, values={"decay": 0.1}),
    "meta_l2": _meta(
        "distributed_shampoo_l2",
        weight_decay=0.1,
        weight_decay_type="L2",
        values={"decay": 0.1},
    ),
    "meta_corrected": _meta(
        "distributed_shampoo_corrected",
        weight_decay=0.1,
        weight_decay_type="CORRECTED",
        rates=True,
        values={"decay": 0.1},
    ),
    "meta_independent": _meta(
        "distributed_shampoo_independent",
        weight_decay=0.1,
        weight_decay_type="INDEPENDENT",
        rates=True,
        values={"decay": 0.1},
    ),
}


def _google(values=None, **settings):
    shared = {
        "learning_rate": RATE,
        "beta1": 0.8,
        "beta2": 0.9,
        "diagonal_epsilon": 1e-5,
        "matrix_epsilon": 2**-13,
        "start_preconditioning_step": 0,
        "preconditioning_compute_steps": 1,
        "graft_type": "SGD",
        "block_size": 8,
    }
    mine = {"lr": RATE, "b1": 0.8, "b2": 0.9, "graft_eps": 1e-5, "eps": 2**-13, "start": 0}
    mine |= {"refresh": 1, "graft": "sgd"}
    return Case(shared | settings, "scalable_shampoo", mine | (values or {}))


GOOGLE = {
    "google_sgd": _google(),
    "google_none": _google(graft_type="NONE", values={"graft": "none"}),
    "google_sum": _google(beta2=1.0, graft_type="RMSPROP", values={"b2": 1.0, "graft": "rmsprop"}),
    "google_rmsprop": _google(graft_type="RMSPROP", values={"graft": "rmsprop"}),
    "google_rmsprop_normalized": _google(
        graft_type="RMSPROP_NORMALIZED",
        start_preconditioning_step=4,
        preconditioning_compute_steps=3,
        values={"graft": "rmsprop_normalized", "start": 4, "refresh": 3},
    ),
    "google_sqrt_n": _google(graft_type="SQRT_N", values={"graft": "sqrt_n"}),
    "google_plain_momentum": _google(
        nesterov=False,
        moving_average_for_momentum=False,
        values={"nesterov": False, "averaged": False},
    ),
    "google_decay": _google(
        weight_decay=0.1, statistics_compute_steps=2, values={"decay": 0.1, "statistics": 2}
    ),
    "google_half": _google(exponent_override=2, values={"exponent": 0.5}),
    "google_absolute": _google(relative_matrix_epsilon=False, values={"relative": False}),
}


def fixed():
    """The first weights, a gradient for each step, of all sizes, and a rate for each step."""
    rng = np.random.default_rng(11)
    weights = [rng.normal(size=shape) for shape in SHAPES]
    sizes = 10.0 ** rng.uniform(-1.5, 0.5, STEPS)
    gradients = [[size * rng.normal(size=shape) for shape in SHAPES] for size in sizes]
    return weights, gradients


def rates(peak):
    """A rate that falls along a line from its peak at the first step, as `linear` has it."""
    return [peak * (1 - step / FALL) for step in range(STEPS)]


def meta(case, weights, gradients):
    """The weights of Meta's Shampoo after each step."""
    import distributed_shampoo as released
    import torch
    from distributed_shampoo.shampoo_types import ClassicMomentumConfig

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    settings = dict(case.released)
    graft, momentum = settings.pop("graft"), settings.pop("momentum", None)
    if graft:
        settings["grafting_config"] = getattr(released, f"{graft[0]}PreconditionerConfig")(
            **graft[1]
        )
    if momentum:
        settings["iterate_averaging_config"] = ClassicMomentumConfig(**momentum)
    kind = settings.pop("weight_decay_type", "DECOUPLED")
    tensors = [torch.tensor(w, requires_grad=True) for w in weights]
    optimizer = released.DistributedShampoo(
        tensors,
        weight_decay_type=getattr(released.WeightDecayType, kind),
        distributed_config=released.SingleDeviceDistributedConfig(
            target_parameter_dimensionality=2
        ),
        preconditioner_config=released.RootInvShampooPreconditionerConfig(
            factor_matrix_dtype=torch.float64,
            inv_factor_matrix_dtype=torch.float64,
            **settings.pop("preconditioner"),
        ),
        **settings,
    )
    visited = []
    for rate, now in zip(rates(case.values["lr"]), gradients, strict=True):
        for tensor, gradient in zip(tensors, now, strict=True):
            tensor.grad = torch.tensor(gradient)
        if case.rates:
            optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        visited.append([x for w in tensors for x in w.detach().ravel().tolist()])
    return visited


def google(case, weights, gradients):
    """The weights of Google's Shampoo after each step."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    # Of chex the file uses names of types alone.
    chex = ModuleType("chex")
    chex.Array = jax.Array
    sys.modules.setdefault("chex", chex)
    import distributed_shampoo as released

    settings = dict(case.released)
    kind = settings.pop("graft_type")
    optimizer = released.distributed_shampoo(
        graft_type=getattr(released.GraftingType, kind),
        best_effort_memory_usage_reduction=False,
        best_effort_shape_interpretation=False,
        skip_preconditioning_dim_size_gt=4096,
        generate_training_metrics=False,
        **settings,
    )

    params = [jnp.asarray(w) for w in weights]
    # What it starts from is float32, and exact: it stays in float64 once it is there.
    state = jax.tree.map(
        lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, optimizer.init(params)
    )
    visited = []
    for now in gradients:
        updates, state = optimizer.update([jnp.asarray(g) for g in now], state, params)
        params = optax.apply_updates(params, updates)
        visited.append([x for w in params for x in np.ravel(w).tolist()])
    return visited


def kept(visited):
    """Of the weights after each step, those that are written down."""
    return [visited[step - 1] for step in KEPT]


def main():
    """Write what one of the two does again."""
    released, folder = sys.argv[1:]
    sys.path.insert(0, folder)
    weights, gradients = fixed()
    before = json.loads(DATA.read_text()) if DATA.exists() else {}
    cases, run = {"meta": (META, meta), "google": (GOOGLE, google)}[released]
    lines = before | {
        "weights": [x for w in weights for x in np.ravel(w).tolist()],
        "gradients": [[x for g in now for x in np.ravel(g).tolist()] for now in gradients],
        **{name: kept(run(case, weights, gradients)) for name, case in cases.items()},
    }
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in lines.items())
    DATA.write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    main()
