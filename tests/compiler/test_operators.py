"""Spectra and traces of operators: the interpreter, the printed program, and dense matrices."""

import numpy as np
from agreement import agree, interpret, specimen
from tried import net

from optc.compiler.budget.budget import budget
from optc.compiler.budget.tensors import Tensor, Tree

SPEC = """
optimizer probed(lr = 0.1, steps: int = 5) {
  tune step lr
  observe max(lanczos(hvp, normal(w), 4)) as top
  observe min(lanczos(d => hvp(d) + 0.1 * d, g, 3)) as low every 2
  observe lanczos(d => hvp(d), normal(w), steps) as spectrum every 3
  observe quadrature(x => x^2 / (1 + abs(lr * x)), of = lanczos(hvp, normal(w), 5)) as soft
  observe hutchinson(hvp, 3) as trace every 2
  observe xtrace(d => norm(w) * hvp(d), 2) as xt
  observe norm(matrix_function(x => lr / (1 + x^2), d => hvp(d) + d, g, steps)) as filtered
}
"""


def test_what_an_operator_asks_of_another_point_is_asked_once():
    operator = "d => hvp(d) + norm(grad(w + g)) * d"
    line = f"observe max(lanczos({operator}, g, 4)) as top"
    graph = specimen(f"optimizer one() {{ tune step 0.1  {line} }}").graph
    counts = interpret(graph, net(), 1).counts[0]
    assert (counts["grad"], counts["hvp"]) == (2, 4)


def test_the_program_finds_what_the_interpreter_finds():
    trace = agree(SPEC, net(), steps=3)
    assert np.isnan(trace.moments[1].observed["spectrum"]).all()
    assert trace.moments[1].observed["spectrum"].shape == (2, 5)


def test_a_plan_counts_the_products_of_operators():
    tree = Tree.of("tree", (Tensor("kernel", (6, 4)),))
    work = budget(specimen(SPEC).graph, tree).work
    # 4, 5 and 5 each step, 3 and 3 every other, 5 every third, and twice 2 for XTrace.
    np.testing.assert_allclose(work.oracles["hvp"], 4 + 5 + 5 + 3 / 2 + 3 / 2 + 5 / 3 + 4)
    assert not work.at_most
