"""Trajectories of Muon's family in the code of its authors, and with which settings they were made.

`muon_family.json` was written by `python tests/data/references/muon_family.py FOLDER`, with a
checkout of each of `REPOSITORIES` in the folder, the version of torch that the data name, and
float64 in the place of bfloat16 and float32. The tests read the data and need neither.

Weights have torch's layout, (outputs, inputs).
"""

import importlib.util
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

DATA = Path(__file__).with_suffix(".json")
SHAPES = {"tall": (5, 3), "wide": (3, 4)}
STEPS, KEPT = 6, (1, 2, 6)
"""How many steps were made, and after which the weights are kept."""

REPOSITORIES = {
    "Muon": "github.com/KellerJordan/Muon",
    "NorMuon": "github.com/zichongli5/NorMuon",
    "dion": "github.com/microsoft/dion",
    "scion": "github.com/LIONS-EPFL/scion",
    "GaLore": "github.com/jiaweizzhao/GaLore",
}
RANK = 2


@dataclass(frozen=True)
class Case:
    """One optimizer of a repository, or of torch, by file and class, with its settings."""

    repository: str
    file: str
    made: str
    settings: dict = field(default_factory=dict)


TORCH = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "eps": 0.0}
"""Its guard is a bound of the norm where the others add to it."""

CASES = {
    "muon": Case(
        "Muon", "muon.py", "SingleDeviceMuon", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
    ),
    "torch": Case("torch", "optim", "Muon", TORCH),
    "torch_rms": Case("torch", "optim", "Muon", TORCH | {"adjust_lr_fn": "match_rms_adamw"}),
    "normuon": Case(
        "NorMuon",
        "normuon.py",
        "SingleDeviceNorMuon",
        {"lr": 0.05, "momentum": 0.9, "beta2": 0.8, "weight_decay": 0.1},
    ),
    "dion": Case(
        "dion",
        "dion/dion_reference.py",
        "dion_update",
        {"lr": 0.05, "mu": 0.9, "weight_decay": 0.1, "epsilon": 1e-8},
    ),
    "scion": Case(
        "scion",
        "scion.py",
        "Scion",
        {"lr": 0.05, "momentum": 0.2, "scale": 3.0, "norm": "Spectral"},
    ),
    "scion_unconstrained": Case(
        "scion",
        "scion.py",
        "Scion",
        {"lr": 0.05, "momentum": 0.2, "scale": 3.0, "norm": "Spectral", "unconstrained": True},
    ),
    "scion_sign": Case(
        "scion", "scion.py", "Scion", {"lr": 0.05, "momentum": 0.2, "scale": 3.0, "norm": "Sign"}
    ),
    "scion_columns": Case(
        "scion", "scion.py", "Scion", {"lr": 0.05, "momentum": 0.2, "scale": 3.0, "norm": "ColNorm"}
    ),
    "galore": Case(
        "GaLore",
        "galore_torch/adamw.py",
        "AdamW",
        {
            "lr": 0.05,
            "betas": (0.9, 0.95),
            "eps": 1e-6,
            "no_deprecation_warning": True,
        },
    ),
}


def drawn(name, shape, count):
    """Numbers of a bell curve: the weights first, then a gradient for each step, and more."""
    source = random.Random(f"muon family {name}")
    flat = [source.gauss(0, 1) for _ in range(count * int(np.prod(shape)))]
    return np.reshape(flat, (count, *shape))


def start(name):
    """The weights of a shape, and the gradients of the steps."""
    weights, *gradients = drawn(name, SHAPES[name], 1 + STEPS)
    return weights, gradients


def sketch(name):
    """Dion's first basis, which lies on the smaller side."""
    return drawn(f"{name} sketch", (min(SHAPES[name]), RANK), 1)[0]


def recorded():
    """The trajectories of each case: by shape, the weights after the steps of `KEPT`."""
    found = json.loads(DATA.read_text(encoding="utf-8"))["cases"]
    return {
        case: {shape: np.array(x) for shape, x in shapes.items()} for case, shapes in found.items()
    }


# ---- recording


def _module(folder, case):
    if case.repository == "torch":
        return importlib.import_module("torch.optim")
    path = folder / case.repository / case.file
    package = path.parent.name
    if package != case.repository or case.repository == "dion":
        parent = importlib.util.module_from_spec(
            importlib.util.spec_from_loader(package, None, is_package=True)
        )
        parent.__path__ = [str(path.parent)]
        sys.modules.setdefault(package, parent)
    spec = importlib.util.spec_from_file_location(f"{package}.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _record(torch, folder, name, case):
    function = getattr(_module(folder, case), case.made)
    found = {}
    for shape in SHAPES:
        weights, gradients = (torch.tensor(np.array(x)) for x in start(shape))
        weights = torch.nn.Parameter(weights, requires_grad=False)
        kept = []
        if name == "dion":
            rows, cols = SHAPES[shape]
            momentum, basis = torch.zeros_like(weights), torch.tensor(sketch(shape))
        elif name == "galore":
            projected = {"rank": RANK, "update_proj_gap": 100, "scale": 0.25, "proj_type": "std"}
            optimizer = function([{"params": [weights], **projected}], **case.settings)
        else:
            optimizer = function([weights], **case.settings)
        for number, gradient in enumerate(gradients, 1):
            if name == "dion":
                basis = function(
                    weights,
                    gradient,
                    momentum,
                    basis,
                    **case.settings,
                    transpose=rows < cols,
                    power_iters=1,
                    qr_method="qr",
                    compressed_all_reduce=False,
                )
            else:
                weights.grad = gradient.clone()
                optimizer.step()
            if number in KEPT:
                kept.append([[float(f"{x:.13g}") for x in row] for row in weights.tolist()])
        found[shape] = kept
    return found


def main(folder):
    """Run the references, and write the data."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    import torch

    torch.set_num_threads(1)
    torch.Tensor.bfloat16 = torch.Tensor.float = lambda x: x
    torch.float32 = torch.float = torch.float64
    commits = {
        name: subprocess.run(
            ["git", "-C", folder / name, "rev-parse", "HEAD"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for name in REPOSITORIES
    }
    # GaLore asks transformers about a version, and has projections of tensors that are not used.
    stand_ins = ("transformers", "transformers.utils", "transformers.utils.versions", "tensorly")
    sys.modules |= {name: MagicMock() for name in (*stand_ins, "tensorly.decomposition")}
    cases = {name: _record(torch, folder, name, case) for name, case in CASES.items()}
    data = {"torch": torch.__version__, "commits": commits, "cases": cases}
    DATA.write_text(json.dumps(data) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
