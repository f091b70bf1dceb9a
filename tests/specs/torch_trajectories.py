"""Trajectories of torch.optim on fixed gradients, and which of our optimizers they are held to.

`torch_trajectories.json` was written by `python tests/specs/torch_trajectories.py` with the version
of torch that it names, on one thread of a CPU. The tests read the data and need no torch.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

DATA = Path(__file__).with_suffix(".json")
STEPS = 25
SHAPES = {"matrix": (2, 2), "vector": (3,), "scalar": ()}


@dataclass(frozen=True)
class Case:
    """One class of torch.optim with settings, and the same in ours."""

    torch: str
    settings: dict
    ours: str
    values: dict = field(default_factory=dict)


def _adam(ours, torch, settings=None, **values):
    """At a rate and betas that are no defaults; both share the other settings' values."""
    shared = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-6}
    mine = {"lr": 0.03, "b1": 0.8, "b2": 0.95, "eps": 1e-6}
    return Case(torch, shared | (settings or {}), ours, mine | values)


L2 = {"weight_decay": 0.1}
CASES = {
    "sgd": Case("SGD", {"lr": 0.1}, "sgd", {"lr": 0.1}),
    "sgd_momentum": Case(
        "SGD", {"lr": 0.1, "momentum": 0.8}, "momentum", {"lr": 0.1, "momentum": 0.8}
    ),
    "sgd_nesterov": Case(
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
        "sgd_nesterov",
        {"lr": 0.1, "momentum": 0.8},
    ),
    "sgd_dampening": Case(
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, **L2},
        "sgd_torch",
        {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "decay": 0.1},
    ),
    "sgd_nesterov_decay": Case(
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, **L2},
        "sgd_torch",
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "decay": 0.1},
    ),
    "adam_defaults": Case("Adam", {}, "adam"),
    "adam": _adam("adam", "Adam"),
    "adam_decay": _adam("adam_coupled", "Adam", L2, decay=0.1),
    "amsgrad": _adam("amsgrad_torch", "Adam", {"amsgrad": True}),
    "amsgrad_decay": _adam("amsgrad_torch", "Adam", {"amsgrad": True, **L2}, decay=0.1),
    "adamw_defaults": Case("AdamW", {}, "adamw"),
    "adamw": _adam("adamw", "AdamW", L2, decay=0.1),
    "nadam_defaults": Case("NAdam", {}, "nadam_torch"),
    "nadam": _adam(
        "nadam_torch", "NAdam", {"momentum_decay": 0.02, **L2}, momentum_decay=0.02, decay=0.1
    ),
    "radam_defaults": Case("RAdam", {}, "radam_torch"),
    "radam": _adam("radam_torch", "RAdam", L2, decay=0.1),
    "adamax": _adam("adamax", "Adamax"),
    "adamax_defaults": Case("Adamax", {}, "adamax", {"lr": 2e-3}),
    "rmsprop_defaults": Case("RMSprop", {}, "rmsprop_torch"),
    "rmsprop_momentum": Case(
        "RMSprop",
        {"lr": 0.03, "alpha": 0.9, "eps": 1e-6, "momentum": 0.7, **L2},
        "rmsprop_torch",
        {"lr": 0.03, "b2": 0.9, "eps": 1e-6, "momentum": 0.7, "decay": 0.1},
    ),
    "rmsprop_centered": Case(
        "RMSprop",
        {"lr": 0.03, "alpha": 0.9, "eps": 1e-6, "centered": True},
        "rmsprop_centered_torch",
        {"lr": 0.03, "b2": 0.9, "eps": 1e-6},
    ),
    "rmsprop_centered_momentum": Case(
        "RMSprop",
        {"lr": 0.03, "alpha": 0.9, "eps": 1e-6, "centered": True, "momentum": 0.7, **L2},
        "rmsprop_centered_torch",
        {"lr": 0.03, "b2": 0.9, "eps": 1e-6, "momentum": 0.7, "decay": 0.1},
    ),
    "rprop_defaults": Case("Rprop", {}, "rprop"),
    "rprop": Case(
        "Rprop",
        {"lr": 0.02, "etas": (0.4, 1.5), "step_sizes": (0.005, 0.1)},
        "rprop",
        {
            "lr": 0.02,
            "eta_minus": 0.4,
            "eta_plus": 1.5,
            "min_step_size": 0.005,
            "max_step_size": 0.1,
        },
    ),
    "adagrad_defaults": Case("Adagrad", {}, "adagrad_torch"),
    "adagrad": Case(
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.2, "eps": 1e-6, **L2},
        "adagrad_torch",
        {"lr": 0.1, "lr_decay": 0.05, "initial": 0.2, "eps": 1e-6, "decay": 0.1},
    ),
    "adadelta_defaults": Case("Adadelta", {}, "adadelta"),
    "adadelta": Case(
        "Adadelta",
        {"lr": 0.5, "rho": 0.8, "eps": 1e-4, **L2},
        "adadelta",
        {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "decay": 0.1},
    ),
}


def fixed():
    """The first weights and a gradient for each step, of all sizes; one element starts at 0."""
    rng = np.random.default_rng(7)
    weights = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    sizes = 10.0 ** rng.uniform(-2, 1, STEPS)
    gradients = [
        {name: size * rng.normal(size=shape) for name, shape in SHAPES.items()} for size in sizes
    ]
    for now in gradients[:3]:
        now["vector"][0] = 0.0
    return weights, gradients


def trajectory(torch, case, weights, gradients):
    """The weights of torch after each step."""
    tensors = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
    optimizer = getattr(torch.optim, case.torch)(tensors.values(), foreach=False, **case.settings)
    visited = []
    for now in gradients:
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(now[name])
        optimizer.step()
        visited.append([x for w in tensors.values() for x in w.detach().ravel().tolist()])
    return visited


def main():
    """Write the data again."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    weights, gradients = fixed()
    lines = {
        "torch": torch.__version__,
        "weights": [x for w in weights.values() for x in np.ravel(w).tolist()],
        "gradients": [[x for g in now.values() for x in np.ravel(g).tolist()] for now in gradients],
        **{name: trajectory(torch, case, weights, gradients) for name, case in CASES.items()},
    }
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in lines.items())
    DATA.write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    main()
