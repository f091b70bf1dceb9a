"""Trajectories of SOAP as its authors wrote it, in float64: writes soap.json.

    python record_soap.py PATH/soap.py

with torch and soap.py of github.com/nikhilvyas/SOAP (commit a1e5535). The code casts to float32
before it factorises; here `float` is float64, so that all digits mean something.
"""

import sys
from functools import partial

from given import given, keep, module, stepped, torch_in_float64, walks

STEPS = 13
SHOWN = (1, 2, 6, 11, 12, 13)
SHAPES = {
    "squares": {"square": (4, 4), "vector": (3,)},
    "rectangles": {"wide": (3, 6), "tall": (6, 3)},
}
CASES = {
    "defaults": ("squares", {}),
    "often": (
        "squares",
        {
            "lr": 0.02,
            "betas": (0.9, 0.99),
            "shampoo_beta": 0.8,
            "eps": 1e-6,
            "weight_decay": 0.1,
            "precondition_frequency": 1,
        },
    ),
    "one_sided": ("rectangles", {"lr": 0.02, "precondition_frequency": 4, "max_precond_dim": 4}),
    "normalised": ("squares", {"lr": 0.02, "precondition_frequency": 5, "normalize_grads": True}),
    "uncorrected": ("squares", {"lr": 0.02, "precondition_frequency": 5, "correct_bias": False}),
}


def main(path: str) -> None:
    """Follow each case."""
    torch = torch_in_float64()
    soap = module(path, "reference_soap")

    def follow(settings):
        return stepped(torch, partial(soap.SOAP, **settings))

    start = {name: given(shapes, STEPS) for name, shapes in SHAPES.items()}
    keep(
        __file__,
        {"code": "github.com/nikhilvyas/SOAP a1e5535", "torch": torch.__version__},
        start
        | {
            name: {"given": on, "after": walks(follow(settings), start[on], SHOWN)}
            for name, (on, settings) in CASES.items()
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
