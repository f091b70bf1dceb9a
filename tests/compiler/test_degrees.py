"""Rows of the op table grow as they say: inputs `s` times as large make results `s^d` as large."""

from functools import partial
from math import prod

import numpy as np
import pytest

from optc.compiler import matrices, one_tensor
from optc.compiler.growth import Growth
from optc.compiler.ops import ELEMENTWISE, MAKERS, MATRICES, REDUCTIONS

GROWING = [
    op
    for op in (*ELEMENTWISE, *REDUCTIONS, *MATRICES)
    if op.growth is not None and op.name not in (*MAKERS, "all", "any")
]
ROUNDING = 1e-12
"""A few hundred roundings, on matrices of eigenvalues that are not below 1."""


def given(op):
    """Numbers that an op takes: above 0, conditions of both sorts, matrices that are positive."""
    random = np.random.default_rng(0)
    if op.op_class != "matrix":
        values = [random.uniform(0.5, 2, size=8) for _ in op.takes]
        values = [x > 1 if kind == "bool" else x for x, kind in zip(values, op.takes, strict=True)]
        return [values[0], 3.0] if op.name == "pow" else values
    factor, vector = random.normal(size=(4, 4)), random.normal(size=4)
    matrix = factor @ factor.T + np.eye(4)
    first = {"diagonal_matrix": vector, "onto_matrix": vector, "onto_vector": matrix[:, :1]}
    second = {
        "matvec": vector,
        "take": np.array([2, 0, 3, 1]),
        "matrix_power": 0.3,
        "inverse_root": 4,
    }
    return [first.get(op.name, matrix), second.get(op.name, matrix)][: op.arity]


def meaning(op):
    match op.op_class:
        case "elementwise":
            return getattr(np, op.numpy)
        case "reduction":
            return partial(one_tensor.REDUCTIONS[op.name], axis=None, keepdims=False)
        case _:
            how = {"axis": 0} if op.name == "take" else {}
            return partial(getattr(matrices, op.numpy), **how)


@pytest.mark.parametrize("size", [0.25, 3.0, -2.0])
@pytest.mark.parametrize("op", GROWING, ids=lambda op: op.name)
def test_a_result_grows_as_its_row_says(op, size):
    inputs = given(op)
    growth = op.growth.resolved(inputs[1] if len(inputs) > 1 and np.ndim(inputs[1]) == 0 else None)
    if size < 0 and not growth.signed:
        return
    scaled, grown = [], {}
    for place, x in enumerate(inputs):
        power, factor = growth.power(place), size if growth.alike else size * (1 + place)
        numbers = not isinstance(power, str)
        scaled.append(factor * x if numbers else x)
        grown |= {0 if growth.alike else place: factor**power} if numbers else {}
    expected = prod(grown.values()) * meaning(op)(*inputs)
    np.testing.assert_allclose(meaning(op)(*scaled), expected, rtol=ROUNDING, atol=ROUNDING)


def test_a_power_is_known_where_it_is_a_number():
    by = Growth(("n", "other"))
    assert by.resolved(3.0) == Growth((3.0, "other"))
    assert by.resolved(None) is None
    assert Growth(("-1/n", "other")).resolved(0.0) is None
