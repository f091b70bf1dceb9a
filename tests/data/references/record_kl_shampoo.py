"""Trajectories of KL-Shampoo and KL-SOAP as their authors wrote them: writes kl_shampoo.json.

    python record_kl_shampoo.py PATH/kl_opt.py

with torch and optim/kl_opt.py of github.com/yorkerlin/KL-Methods (commit a02e622), in float64
throughout and not compiled.
"""

import sys
from functools import partial

from given import given, keep, module, stepped, torch_in_float64, walks

SHAPES = {"square": (4, 4), "other": (3, 3)}
STEPS = 13
SHOWN = (1, 2, 6, 11, 12, 13)
CASES = {
    "kl_shampoo_defaults": {},
    "kl_shampoo": {
        "lr": 0.02,
        "betas": (0.8, 0.9),
        "shampoo_beta": 0.95,
        "eps": 1e-3,
        "weight_decay": 0.1,
        "precondition_frequency": 4,
        "init_factor": 0.5,
    },
    "kl_shampoo_clamped": {"lr": 0.02, "betas": (0.9, 0.5), "init_factor": 1e-3},
    "kl_soap": {
        "lr": 0.02,
        "betas": (0.8, 0.9),
        "precondition_frequency": 4,
        "using_klsoap": True,
    },
}


def main(path: str) -> None:
    """Follow each case."""
    torch = torch_in_float64()
    torch.compile = lambda function: function
    kl = module(path, "reference_kl_opt")

    def follow(settings):
        return stepped(torch, partial(kl.KLOpt, cast_dtype=torch.float64, **settings))

    start = given(SHAPES, STEPS)
    keep(
        __file__,
        {"code": "github.com/yorkerlin/KL-Methods a02e622", "torch": torch.__version__},
        {"squares": start}
        | {
            name: {"given": "squares", "after": walks(follow(settings), start, SHOWN)}
            for name, settings in CASES.items()
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
