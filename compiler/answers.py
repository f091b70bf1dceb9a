"""What oracles and operators answer in the interpreter."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from . import spectral
from .environment import Draw, Oracles
from .graph import Node
from .ops import FISHER


def answer(node: Node, inputs: Sequence[Any], oracles: Oracles, mask: Sequence[bool]) -> Any:
    """What the objective says; `mask` are the tensors for which it is asked."""
    if node.op == "examples":
        return float(len(oracles.per_example_grad(inputs[0])))
    if node.op == "measured":
        at, like, name = inputs
        return oracles.measured(at, str(name), int(node["per"]), like)
    if node.op == "feature_alignment":
        at, fields, _, power, pearson, *_ = inputs
        pairs = zip(oracles.feature_covariance(at), fields, strict=True)
        return [
            None if x is None else spectral.alignment(found, x, float(power), bool(pearson))
            for found, x in pairs
        ]
    if node.op in FISHER:
        rounds = tuple(int(i) for i in inputs[1:])
        found = oracles.fisher_factors(inputs[0], FISHER.index(node.op), rounds)
        pairs = zip(found, mask, strict=True)
        return [x if inside else None for x, inside in pairs]
    if node.op == "sampled_outputs_grad":
        rounds = tuple(int(i) for i in inputs[1:])
        return oracles.sampled_outputs_grad(inputs[0], int(node["site"]), rounds)
    if node.op in ("curvature", "ggn_curvature"):
        times = oracles.hvp if node.op == "curvature" else oracles.ggn
        product = times(inputs[0], inputs[1])
        return sum(float(np.sum(x * y)) for x, y in zip(inputs[1], product, strict=True))
    return getattr(oracles, node.op)(*inputs)


def of_operator(
    node: Node, inputs: Sequence[Any], applied: Callable[..., Any], draw: Draw | None
) -> Any:
    """What is found of an operator or a spectrum, by a function that the node has as a region."""
    match node.op:
        case "no_spectrum":
            return np.full((2, int(inputs[0])), np.nan)
        case "highest":
            return np.max(inputs[0][0])
        case "lowest":
            return np.min(inputs[0][0])
        case "quadrature":
            pairs = [(x, weight) for x, weight in zip(*inputs[0], strict=True) if weight != 0]
            return sum(weight * applied(np.float64(x)) for x, weight in pairs)
        case "lanczos":
            start, steps = inputs
            return spectral.lanczos(applied, start, int(steps))
        case "matrix_function":
            start, steps = inputs
            operator, function = (partial(applied, place=i) for i in (0, 1))
            return spectral.matrix_function(operator, function, start, int(steps))
    like, samples, *rounds = inputs
    assert draw is not None
    around = tuple(int(i) for i in rounds)
    site = int(node["site"])
    signs = node.op == "hutchinson"
    estimate, law = (spectral.hutchinson, "rademacher") if signs else (spectral.xtrace, "normal")
    drawn = [draw(law, site, (*around, i), like) for i in range(int(samples))]
    return estimate(applied, drawn)
