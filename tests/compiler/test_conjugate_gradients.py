"""Conjugate gradients in the language: closed forms, and what each doubtful case comes to."""

from itertools import pairwise

import numpy as np
import pytest
from agreement import agree, graph_of

from optc.compiler.environment import Tensors
from optc.compiler.graph import walk
from optc.compiler.interpret import Interpreter

RULE = """
rule precondition own(damping = 0.0 in (-inf, inf), rounds: int = 0) {{
  state x = zeros(g)
  x <- {value}
  return x
}}
optimizer one(damping = 0.0 in (-inf, inf), rounds: int = 10) {{
  precondition own(damping, rounds)
  tune step 1.0
}}
"""

EIGENVALUES = np.array([0.1, 0.5, 1.0, 1.0, 2.0, 3.0, 4.5, 7.0, 9.0, 10.0])


class Bowl:
    """A quadratic of ten weights in two tensors: x'Ax / 2 - b'x, the split model being Ux."""

    def __init__(self, eigenvalues=EIGENVALUES, b=None):
        random = np.random.default_rng(3)
        basis, _ = np.linalg.qr(random.normal(size=(10, 10)))
        self.matrix = basis * eigenvalues @ basis.T
        self.b = random.normal(size=10) if b is None else b

    def loss(self, at):
        x = flat(at)
        return float(x @ self.matrix @ x / 2 - self.b @ x)

    def grad(self, at):
        return fields(self.matrix @ flat(at) - self.b)

    def hvp(self, at, vector):
        return fields(self.matrix @ flat(vector))

    ggn = hvp


def flat(tensors):
    return np.concatenate([np.ravel(x) for x in tensors])


def fields(x):
    return [x[:6].reshape(2, 3), x[6:]]


def direction(value, bowl, **values):
    """What a rule returns at the origin of a bowl, whose gradient there is -b."""
    graph = graph_of(RULE.format(value=value))
    values = {h.name: h.default for h in graph.hyperparameters} | values
    run = Interpreter(graph, Tensors(["kernel", "bias"], ["float64"] * 2), values, bowl)
    zero = fields(np.zeros(10))
    with np.errstate(all="ignore"):
        return flat(run.step(zero, run.start(zero), 1).slots[0])


def test_it_solves_after_as_many_iterations_as_there_are_distinct_eigenvalues():
    bowl = Bowl()
    exact = np.linalg.solve(bowl.matrix, -bowl.b)
    solved = direction("cg(hvp, g, rounds)", bowl, rounds=9)
    # The condition number is 100, and so a residual of 1e-12 is an error of 1e-10 at most.
    np.testing.assert_allclose(solved, exact, rtol=1e-9, atol=1e-10)
    short = direction("cg(hvp, g, rounds)", bowl, rounds=8)
    assert np.max(np.abs(short - exact)) > 1e-4


def test_the_error_in_the_norm_of_the_operator_never_grows():
    bowl = Bowl()
    exact = np.linalg.solve(bowl.matrix, -bowl.b)
    errors = [direction("cg(ggn, g, rounds)", bowl, rounds=n) - exact for n in range(11)]
    sizes = [float(e @ bowl.matrix @ e) for e in errors]
    assert sizes[0] == pytest.approx(float(exact @ bowl.matrix @ exact))
    assert all(later <= sooner + 1e-18 for sooner, later in pairwise(sizes))


@pytest.mark.parametrize("damping", [0.1, 10.0])
def test_damping_is_added_to_the_operator(damping):
    bowl = Bowl()
    found = direction("cg(d => hvp(d) + damping * d, g, 20)", bowl, damping=damping)
    exact = np.linalg.solve(bowl.matrix + damping * np.eye(10), -bowl.b)
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-12)


def test_it_goes_on_from_a_start_and_needs_no_step_at_the_solution():
    bowl = Bowl()
    exact = np.linalg.solve(bowl.matrix, -bowl.b)
    again = "cg_from(hvp, g, cg(hvp, g, 5), rounds)"
    np.testing.assert_allclose(direction(again, bowl, rounds=9), exact, rtol=1e-9, atol=1e-10)
    fifth = direction("cg(hvp, g, 5)", bowl)
    np.testing.assert_array_equal(direction(again, bowl, rounds=0), fifth)


def test_the_tolerance_is_relative_to_the_right_side():
    bowl = Bowl()
    residual = bowl.matrix @ direction("cg(hvp, g, 100, tolerance = 0.1)", bowl) + bowl.b
    assert np.linalg.norm(residual) <= 0.1 * np.linalg.norm(bowl.b) * (1 + 1e-12)
    sooner = direction("cg(hvp, g, 100, tolerance = 0.5)", bowl)
    assert np.linalg.norm(bowl.matrix @ sooner + bowl.b) > np.linalg.norm(residual)


def test_a_right_side_of_zero_and_no_iterations_give_zero():
    zero = np.zeros(10)
    np.testing.assert_array_equal(direction("cg(hvp, g, 5)", Bowl(b=zero)), zero)
    np.testing.assert_array_equal(direction("cg(hvp, g, 0)", Bowl()), zero)


def test_without_curvature_along_the_first_direction_that_is_the_result():
    for eigenvalues in (-EIGENVALUES, 0 * EIGENVALUES):
        bowl = Bowl(eigenvalues)
        np.testing.assert_array_equal(direction("cg(hvp, g, 5)", bowl), -bowl.b)


def test_without_curvature_later_it_keeps_the_iterate_before():
    bowl = Bowl(EIGENVALUES - 0.3)
    found = direction("cg(hvp, g, 50)", bowl)
    iterates = [direction("cg(hvp, g, rounds)", bowl, rounds=n) for n in range(12)]
    assert any(np.array_equal(found, each) for each in iterates[1:])
    # It is a direction of descent for the quadratic model, which has no minimum.
    assert found @ bowl.matrix @ found / 2 + bowl.b @ found < 0


def test_what_is_no_number_stays_seen():
    bad = np.arange(10.0)
    bad[4] = np.nan
    assert np.isnan(direction("cg(hvp, g, 5)", Bowl(b=bad))).any()
    bowl = Bowl()
    bowl.hvp = lambda at, vector: fields(np.full(10, np.nan))
    np.testing.assert_array_equal(direction("cg(hvp, g, 5)", bowl), -bowl.b)


def test_the_printed_program_does_what_the_interpreter_does():
    trace = agree(RULE.format(value="cg(d => ggn(d) + 0.1 * d, g, 3)"), steps=3)
    assert [counts["ggn"] for counts in trace.counts] == [3, 3, 3]


def test_the_point_leaves_the_loop():
    graph = graph_of(RULE.format(value="cg(d => ggn(d) + hvp(d), g, 3)"))
    assert sum(node.op == "point" for node in walk(graph.step)) == 1
