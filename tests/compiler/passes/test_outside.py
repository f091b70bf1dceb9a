"""Scalars leave products of matrices."""

import pytest
from agreement import assert_same, graph_of, interpret
from tried import bowl

from optc.compiler.graph import index, walk
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.outside import outside
from optc.compiler.verify import verify

ROUNDING = 1e-13
"""Sums of at most five products, a few scalars."""


def scaled(result, *lines):
    """How many products have an operand that a scalar scales, before and after the pass."""
    body = "\n".join(f"    {line}" for line in lines)
    source = f"""
rule precondition own(c = 0.3) {{
  when g is [rows, cols] {{
{body}
    return {result}
  }} else {{
    return g
  }}
}}
optimizer one(lr = 0.1) {{
  precondition own()
  tune step lr
}}
"""
    graph = verify(dead_code(cse(graph_of(source))))
    after = verify(outside(graph), lean=True)
    assert verify(outside(after)) == after
    one, other = (interpret(g, bowl(), 2) for g in (graph, after))
    assert_same(other, one, rtol=ROUNDING, atol=ROUNDING)
    return tuple(_scaled(g) for g in (graph, after))


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
