"""Folding: what is known is worked out, and nothing else changes."""

import pytest
from agreement import assert_same, graph_of, interpret
from specimens import SPECIMENS
from tried import bowl

from optc.compiler.graph import walk
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.fold import fold
from optc.compiler.verify import verify


def folded(value):
    """The ops of a direction, before and after."""
    graph = graph_of(
        f"rule precondition own() {{ return {value} }}\n"
        "optimizer one(a = 2.0, n: int = 3) { precondition own()  tune step 1 }"
    )
    return graph, verify(fold(graph))


def test_folding_keeps_every_bit(specimen_name):
    graph = graph_of(SPECIMENS[specimen_name])
    again = verify(fold(graph))
    assert_same(interpret(again, steps=3), interpret(graph, steps=3), rtol=0, atol=0)


def test_folding_twice_changes_nothing(specimen_name):
    once = fold(graph_of(SPECIMENS[specimen_name]))
    assert fold(once) == once


@pytest.mark.parametrize(
    "value",
    ["g + 0", "0 + g", "g - 0", "1 * g", "g * 1", "g / 1", "g^1", "--g", "where(true, g, w)",
     "where(1 > 2, w, g)", "min(g, g)", "where(any(g > 0), g, g)"],
)  # fmt: skip
def test_operations_that_change_nothing_go(value):
    graph, after = folded(value)
    gradient = next(node.id for node in graph.step.nodes if node.op == "grad")
    # The step is the rate times the direction, and the rate is 1.
    assert after.step.results[0] == gradient
    assert_same(interpret(after, bowl(), 2), interpret(graph, bowl(), 2), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("g * where(true, 2, g)", 0),
        ("w - where(1 > 2, g, norm(g)) * g", 0),
        ("g * where(true, t, 0.5 * t)", 0),
        ("where(true, norm(g, per = tensor), g) + w", 0),
        ("where(where(true, any(g > 0), g > 0), g, w)", 0),
        ("where(true, norm(g), w)", 1),
    ],
)
def test_of_a_choice_that_is_known_only_the_chosen_value_is_left(value, left):
    graph, after = folded(value)
    after = verify(dead_code(after))
    chosen = (n for n in walk(after.step) if n.op == "where" and n.inputs[0] in constants(after))
    assert len(list(chosen)) == left
    assert_same(interpret(after, bowl(), 2), interpret(graph, bowl(), 2), rtol=0, atol=0)


def constants(graph):
    return {node.id for node in walk(graph.step) if node.op == "const"}


def test_a_transpose_of_a_transpose_is_what_it_was():
    graph = graph_of("""
rule precondition own() {
  when g is [rows, cols] {
    n = 2 * g
    return n @ (n.T @ n.T.T)
  } else {
    error "matrices"
  }
}
optimizer one() { precondition own()  tune step 1 }
""")
    before, after = ([n.op for n in walk(g.step)] for g in (graph, verify(fold(graph))))
    assert after.count("transpose") == before.count("transpose") - 1


@pytest.mark.parametrize(
    ("value", "op"), [("g + -1 * w", "sub"), ("w * (2 - 3) + g", "sub"), ("g - -1 * w", "add")]
)
def test_minus_one_times_a_value_is_taken_from_a_sum(value, op):
    graph, after = folded(value)
    step = next(node for node in after.step.nodes if node.id == after.step.results[0])
    assert step.op == op
    assert_same(interpret(after, bowl(), 2), interpret(graph, bowl(), 2), rtol=0, atol=0)


@pytest.mark.parametrize("value", ["0 * g", "g * 0", "g - g", "g / g", "g^0"])
def test_what_could_differ_for_nan_stays(value):
    graph, after = folded(value)
    assert len(after.step.nodes) >= len(graph.step.nodes) - 1
    assert_same(interpret(after, bowl(), 2), interpret(graph, bowl(), 2), rtol=0, atol=0)


def test_literals_are_worked_out_unless_their_digits_hide_them():
    _, after = folded("g * (2 * 3 + 4) * (1 - 0.9) * max(2, 5)")
    literals = {node["value"] for node in walk(after.step) if node.op == "const"}
    assert {10, 5} <= literals
    assert 1 - 0.9 not in literals
    assert {1, 0.9} <= literals


def test_a_literal_keeps_the_type_of_what_it_replaces():
    _, after = folded("g * (6 / 3)")
    values = [node["value"] for node in walk(after.step) if node.op == "const"]
    assert 2.0 in values
    assert all(isinstance(v, float) for v in values if v == 2)
