"""`where` with a predicate: one value for each tensor, decided before the step."""

import numpy as np
import pytest

from optc.compiler.check import chosen, lowered
from optc.compiler.environment import Tensors
from optc.compiler.freeze import freeze
from optc.compiler.graph import walk
from optc.compiler.interpret import Interpreter
from optc.compiler.locate import Located
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.source import Source

PATHS = ("embed/kernel", "layer/kernel", "layer/bias")
WEIGHTS = [np.full((2, 3), 1.0), np.full((4, 2), 2.0), np.full((3,), 4.0)]
RULES = """
rule precondition mixed(part = 0.5 in [0, 1]) {
  state total = where(ndim >= 2, 1, 10) * ones(w)
  total <- total + where(ndim >= 2, g, norm(g)^2)
  return part * total
}
func increased(x) { return x + 1 }
rule precondition carried(rounds: int = 2) {
  var x = ones(mean(g, per = tensor))
  repeat rounds { x <- increased(where(ndim >= 2, x, 5)) }
  return x * ones(g)
}
"""


class Quadratic:
    """Half the square of the weights."""

    def grad(self, at):
        return [np.asarray(x, float) for x in at]

    def loss(self, at):
        return 0.5 * sum(float(np.sum(x * x)) for x in at)


def steps(*lines):
    """The graph of a few lines and what one step subtracts of each tensor, a number for each."""
    body = "\n".join(lines)
    text = f"optimizer one(lr = 1.0 in [0, inf)) {{\n{body}\ntune step lr\n}}\n{RULES}"
    where, report = Located(Source("<test>", text), None), Diagnostics()
    draft = chosen(where, lowered(where, report), report)
    assert draft is not None
    assert not report.has_errors
    graph = freeze(draft)
    runner = Interpreter(graph, Tensors(PATHS, ["float32"] * 3), {"lr": 1.0}, Quadratic())
    outcome = runner.step(WEIGHTS, runner.start(WEIGHTS), 1)
    moved = [np.unique(a - b) for a, b in zip(WEIGHTS, outcome.weights, strict=True)]
    return graph, [float(x) for (x,) in moved]


def test_a_radius_for_each_tensor():
    """|w|^2 = 6 + 32 + 48: the point is w (1 + radius / |w|), with radius 0 where it says so."""
    line = 'perturb sam(radius = where(path matches "embed", 0, 0.5))'
    away = 1 + 0.5 / np.sqrt(86)
    np.testing.assert_allclose(steps(line)[1], [1, 2 * away, 4 * away], rtol=1e-15)


def test_reductions_in_a_side_run_over_all_tensors_that_the_line_sees():
    # A field for some tensors, a number for the others; the state is born with a choice as well.
    found = steps("precondition mixed(where(rows > cols, 1, 0.5))")[1]
    np.testing.assert_allclose(found, [0.5 * 2, 3, 0.5 * (10 + 86)], rtol=1e-15)


def test_what_a_loop_carries_may_be_a_side_of_an_argument():
    # Matrices count the rounds up from 1; of the vector each round begins with 5.
    assert steps("precondition carried()")[1] == [3, 3, 6]


@pytest.mark.parametrize(
    ("predicate", "chosen"),
    [
        ('ndim >= 2 and not path matches "embed"', [0, 1, 0]),
        ("rows > cols or size == 3", [0, 1, 1]),
        ("shape is [a, b]", [1, 1, 0]),
        ('dtype == "float32"', [1, 1, 1]),
    ],
)
def test_every_predicate_of_a_stage_is_one_of_where(predicate, chosen):
    graph, found = steps(f"precondition scaled(where({predicate}, 1, 0))")
    assert found == [c * x for c, x in zip(chosen, [1, 2, 4], strict=True)]
    assert not any(node.op == "where" for node in walk(graph.step)), "nothing is left to data"


def test_one_predicate_is_one_set_of_tensors():
    graph, _ = steps(
        "precondition momentum(where(ndim >= 2, 0.9, 0.5))",
        "decay weights(where(ndim >= 2, 0.1, 0))",
    )
    assert [domain.name for domain in graph.domains] == ["all", "precondition_tensors"]
