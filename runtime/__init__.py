"""The library that generated optimizers run on: `from optc import runtime as rt`.

A program is three functions of fields (`Field`: one tensor for every weight tensor) and scalars;
`Program` makes an optimizer of them that takes any pytree of weights. Functions of one tensor
are lifted with `per_tensor`, whole-vector reductions are `norm`, `dot`, `sum`..., and all that
is known of the loss comes from `Oracles`. It needs jax, numpy, optax and matfree only, and no
compiler:

    @rt.per_tensor
    def scaled(g, lr):
        return lr * g

    def step(w, slots, t, h, oracles):
        at_w = oracles.at(w, "loss", "grad")
        return rt.Outcome(loss=at_w.loss, step=scaled(at_w.grad, h["lr"]), slots={})

    sgd = rt.Program(
        "sgd",
        init=lambda w, h: {},
        step=step,
        needs={"grad": "sgd"},
        hyperparameters=[rt.Hyperparameter("lr", 0.1, low=0.0)],
    )
"""

from .arrange import View, blocks, extent, rank_as, unblocks, unview, view
from .control import repeat
from .extern import Extern, Opaque, extern, select
from .field import (
    Field,
    Mask,
    copy,
    full,
    mask,
    nans,
    ones,
    refuse,
    restrict,
    zeros,
)
from .gram import gram_loop
from .groups import Finding, Group, GroupTable, GroupWarning, Limited, TensorRow
from .history import History, history, inverse_fisher, inverse_hessian, push, stored, widened
from .hyperparameters import Hyperparameter
from .interpolate import interpolate
from .kernels import per_tensor
from .matrix import (
    arange,
    argsort,
    cholesky,
    diagonal,
    diagonal_matrix,
    eigenbasis,
    eigenvalues,
    eye,
    filled,
    inverse_root,
    matrix_power,
    orthonormal,
    polar,
    solve,
    take,
    trace,
)
from .objective import Objective
from .oracles import Oracles, Point
from .program import Optimizer, Program
from .random import normal, number, rademacher, round_stochastic, uniform
from .reduce import (
    all,
    any,
    dot,
    dot_per,
    max,
    max_per,
    mean,
    mean_per,
    min,
    min_per,
    norm,
    norm_per,
    sum,
    sum_per,
)
from .spectral import (
    highest,
    hutchinson,
    lanczos,
    lowest,
    matrix_function,
    no_spectrum,
    quadrature,
    xtrace,
)
from .state import Outcome, Report, State
from .tree import matches
from .turns import Instead, staggered

__all__ = [
    "Extern",
    "Field",
    "Finding",
    "Group",
    "GroupTable",
    "GroupWarning",
    "History",
    "Hyperparameter",
    "Instead",
    "Limited",
    "Mask",
    "Objective",
    "Opaque",
    "Optimizer",
    "Oracles",
    "Outcome",
    "Point",
    "Program",
    "Report",
    "State",
    "TensorRow",
    "View",
    "all",
    "any",
    "arange",
    "argsort",
    "blocks",
    "cholesky",
    "copy",
    "diagonal",
    "diagonal_matrix",
    "dot",
    "dot_per",
    "eigenbasis",
    "eigenvalues",
    "extent",
    "extern",
    "eye",
    "filled",
    "full",
    "gram_loop",
    "highest",
    "history",
    "hutchinson",
    "interpolate",
    "inverse_fisher",
    "inverse_hessian",
    "inverse_root",
    "lanczos",
    "lowest",
    "mask",
    "matches",
    "matrix_function",
    "matrix_power",
    "max",
    "max_per",
    "mean",
    "mean_per",
    "min",
    "min_per",
    "nans",
    "no_spectrum",
    "norm",
    "norm_per",
    "normal",
    "number",
    "ones",
    "orthonormal",
    "per_tensor",
    "polar",
    "push",
    "quadrature",
    "rademacher",
    "rank_as",
    "refuse",
    "repeat",
    "restrict",
    "round_stochastic",
    "select",
    "solve",
    "staggered",
    "stored",
    "sum",
    "sum_per",
    "take",
    "trace",
    "unblocks",
    "uniform",
    "unview",
    "view",
    "widened",
    "xtrace",
    "zeros",
]
