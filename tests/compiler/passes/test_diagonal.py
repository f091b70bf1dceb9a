"""Diagonals and traces of products are taken without the products."""

import pytest
from agreement import graph_of, specimen
from matrix_rules import before_and_after, source

from optc.compiler.graph import walk
from optc.compiler.graphs import optimised
from optc.compiler.passes.diagonal import diagonal


def products(text):
    """How many products there are before and after the pass."""
    return tuple(
        sum(node.op == "matmul" for node in walk(g.step)) for g in before_and_after(diagonal, text)
    )


@pytest.mark.parametrize(
    ("result", "before", "after"),
    [
        ("diag(diag(g @ g.T)) @ g", 2, 1),
        ("g @ diag(diag(g.T @ (2 * g)))", 2, 1),
        ("trace(g @ w.T) * g", 1, 0),
        ("diag(diag(g @ (g.T @ w) @ w.T)) @ g", 4, 3),
        ("take(g, argsort(diag(g.T @ w)), axis = 1)", 1, 0),
    ],
)
def test_a_diagonal_of_a_product_needs_no_product(result, before, after):
    assert products(source(result)) == (before, after)


def test_a_product_that_is_used_elsewhere_stays():
    assert products(source("diag(diag(p)) @ g + p @ g", "p = g @ g.T")) == (3, 3)


def test_estimates_of_eigenvalues_share_their_product_with_the_iteration():
    lines = (
        "state P = eye(rows)",
        "state Q = eye(rows)",
        "P <- P + g @ g.T",
        "image = P @ Q",
        "Q <- take(image, argsort(diag(Q.T @ image)), axis = 1)",
    )
    assert products(source("Q @ g", *lines)) == (4, 3)


def test_a_program_says_it_in_one_line():
    text = source("g @ diag(diag(g.T @ w))")
    assert 'rt.sum_per(g.mT * w.mT, "row")[..., 0]' in specimen(text).compiled.source


def test_a_refresh_of_soap_takes_one_product_for_each_side_and_four_for_the_moment():
    text = """
rule precondition soap_of_both() {
  when g is [rows, cols] {
    return soap_both(g, rows, cols, 0.9, 0.99, 0.99, 1e-8, 10, false)
  } else { return g }
}
optimizer one() { group all where ndim == 2 { precondition soap_of_both()  tune step 1 } }"""
    graph = optimised(graph_of(text))
    assert sum(node.op == "matmul" for node in graph.step.nodes) == 6
    assert sum(node.op == "matmul" for node in walk(graph.step)) == 6 + 2 + 4
