"""Merging equal values: each is computed once, and stays what it was."""

from collections import Counter

import pytest
from agreement import assert_same, graph_of, interpret
from specimens import SPECIMENS

from optc.compiler.graph import walk
from optc.compiler.ops import MAKERS, OPS
from optc.compiler.passes.cse import cse
from optc.compiler.passes.fold import fold
from optc.compiler.verify import verify


def merged(body, params=""):
    graph = graph_of(
        f"rule precondition own({params}) {{ {body} }}\n"
        "optimizer one() { precondition own()  tune step 0.1 }"
    )
    return Counter(node.op for node in walk(verify(cse(graph)).step))


def test_merging_keeps_every_bit(specimen_name):
    graph = graph_of(SPECIMENS[specimen_name])
    again = verify(cse(graph))
    assert_same(interpret(again, steps=3), interpret(graph, steps=3), rtol=0, atol=0)


def test_merging_twice_changes_nothing(specimen_name):
    once = cse(fold(graph_of(SPECIMENS[specimen_name])))
    assert cse(once) == once


def test_no_two_values_of_a_region_are_the_same_afterwards(specimen_name):
    graph = cse(fold(graph_of(SPECIMENS[specimen_name])))
    for region in graph.regions():
        free = ("const", "argument", *(MAKERS if region is graph.start else ()))
        keys = Counter(
            (n.op, n.inputs, n.attributes, n.type)
            for n in region.nodes
            if n.op not in free and not n.regions and OPS[n.op].op_class != "fill"
        )
        assert max(keys.values(), default=1) == 1


def test_operands_that_may_change_places_are_merged():
    assert merged("return (g * w) + (w * g) + min(g, w) + min(w, g)")["mul"] == 2
    assert merged("return (g * w) + (w * g) + min(g, w) + min(w, g)")["min"] == 1
    assert merged("return (g - w) + (w - g)")["sub"] == 2


def test_equal_points_are_linearised_once():
    ops = merged("return grad(w + g) + hvp(g, at = w + g) + hvp(w, at = g + w)")
    assert ops["point"] == 2
    assert ops["hvp"] == 2


def test_random_fields_are_never_merged():
    assert merged("return normal(w) + normal(w)")["normal"] == 2


def test_a_value_in_a_branch_becomes_one_from_around_it_but_not_one_beside_it():
    body = "a = exp(g)  var x = a  if t > 1 { x <- exp(g) } else { x <- exp(g) + sin(g) }"
    assert merged(f"{body} return x")["exp"] == 1
    body = "var x = g  if t > 1 { x <- exp(g) } else { x <- exp(g) + sin(g) }"
    assert merged(f"{body} return x")["exp"] == 2


@pytest.mark.parametrize(("literals", "kept"), [("a = 0.9  b = 0.9", 2), ("a = 0.9", 1)])
def test_literals_with_names_of_their_own_stay_apart(literals, kept):
    other = "b" if "b =" in literals else "a"
    graph = graph_of(
        f"rule precondition own() {{ {literals}  return a * g + {other} * w }}\n"
        "optimizer one() { precondition own()  tune step 0.1 }"
    )
    nodes = [n for n in walk(cse(graph).step) if n.op == "const" and n["value"] == 0.9]
    assert len(nodes) == kept


def test_integers_and_floats_of_equal_value_stay_apart():
    ops = merged("return 2 * g + 2.0 * w + where(true, 1, 0) * g")
    assert ops["const"] >= 4
