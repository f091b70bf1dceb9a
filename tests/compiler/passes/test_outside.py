"""Scalars leave products of matrices."""

import pytest
from matrix_rules import before_and_after, source

from optc.compiler.graph import index, walk
from optc.compiler.passes.outside import outside


def scaled(result, *lines):
    """How many products have an operand that a scalar scales, before and after the pass."""
    return tuple(map(_scaled, before_and_after(outside, source(result, *lines))))


def _scaled(graph):
    nodes = index(graph)
    operands = [nodes[i] for n in walk(graph.step) if n.op == "matmul" for i in n.inputs]
    return sum(
        n.op in ("mul", "div") and any(nodes[i].type.is_scalar for i in n.inputs) for n in operands
    )


@pytest.mark.parametrize(
    ("result", "before", "after"),
    [
        ("g + (1 - c) * g @ g.T @ w", 1, 0),
        ("g + (c * g) @ (g.T / lr) @ (2 * w)", 3, 0),
        # What no arithmetic reads would be scaled by itself.
        ("orthonormal(c * g @ g.T) @ g", 1, 1),
        ("(c * g) @ g.T @ g", 1, 1),
    ],
)
def test_scalars_leave_products_that_arithmetic_reads(result, before, after):
    assert scaled(result.replace("lr", "3")) == (before, after)


def test_a_mean_of_outer_products_reads_the_gradient_as_it_is():
    lines = ("state L = zeros(rows, rows)", "L <- c * L + (1 - c) * g @ g.T")
    assert scaled("L @ g", *lines) == (1, 0)
