"""Which optimizers of the library CI takes where each one is dear, and all of them are many.

Those of `PART` between them have every op of the library; `pytest --all` takes every optimizer.
`tests/compiler/test_part.py` holds that, and has the rule by which they were chosen.
"""

from functools import cache

import pytest

from optc.compiler import library
from optc.compiler.graph import walk
from optc.compiler.graphs import lowered_graph, optimised
from optc.compiler.locate import find

OPTIMIZERS = library.names("optimizer")

# Written out, since working it out takes each worker of pytest many seconds before any test.
PART = (
    "adahessian",
    "adamw_atan2",
    "distributed_shampoo_blocked",
    "eg_pair",
    "fsam",
    "gauss_newton",
    "greedy_gd",
    "kfac",
    "kl_shampoo",
    "kron",
    "lanczos_heavy_ball",
    "lanczos_sgd",
    "lbfgs",
    "lion_smooth",
    "m_fac",
    "muon_clip",
    "scalable_shampoo",
    "sgd_augmented",
    "sgdr",
    "shampoo_adamw",
    "sign_sgd_vote",
    "sophia_g",
    "spectral_descent",
    "sso",
)


@cache
def operations(name: str) -> frozenset[str]:
    """The ops of a step."""
    graph = optimised(lowered_graph(find(name))[0])
    return frozenset(node.op for node in walk(graph.step))


def optimizers():
    """The names of the library as parameters of a test: CI runs `PART`, `--all` the rest too."""
    return [
        name if name in PART else pytest.param(name, marks=pytest.mark.rest) for name in OPTIMIZERS
    ]
