"""Questions that no round of a loop changes are asked before it, and no others."""

from collections import Counter

import pytest
from agreement import agree, assert_same, graph_of, interpret
from specimens import SPECIMENS

from optc.compiler.graph import walk
from optc.compiler.graphs import optimised
from optc.compiler.ops import ASKED
from optc.compiler.passes.hoist import hoist
from optc.compiler.verify import verify


def graph(body, n="n: int = 3 in [1, inf)"):
    return graph_of(
        f"rule precondition own({n}) {{ var x = g  {body}  return x }}\n"
        f"optimizer one({n}) {{ precondition own(n)  tune step 0.1 }}"
    )


def asked(graph):
    """The questions inside the loops of a graph, and those outside."""
    loops = [node for node in walk(graph.step) if node.op == "loop"]
    inside = {id(n): n.op for loop in loops for region in loop.regions for n in walk(region)}
    everything = {id(n): n.op for n in walk(graph.step)}
    outside = {key: op for key, op in everything.items() if key not in inside}
    questions = (*ASKED, "per_example_mean")
    return tuple(
        {op: n for op, n in Counter(ops.values()).items() if op in questions}
        for ops in (inside, outside)
    )


def left(body, **how):
    """What stays in the loops of a body, of all that was asked there."""
    plain = graph(body, **how)
    return asked(verify(hoist(plain)))[0]


def test_the_meaning_stays_bit_for_bit(specimen_name):
    plain = graph_of(SPECIMENS[specimen_name])
    again = verify(hoist(plain))
    assert_same(interpret(again, steps=3), interpret(plain, steps=3), rtol=0, atol=0)
    assert hoist(again) == again


@pytest.mark.parametrize(
    "round",
    [
        "x <- x + grad(w + 0.1 * g)",
        "x <- x * loss(w + g) + hvp(g)",
        "x <- x + ggn(g, at = w - g / norm(g))",
        "x <- x + pullback(outputs_grad(w), at = w + g)",
        "x <- x + per_example_mean(e => e * norm(g))",
        "x <- x * dot(g, hvp(g))",
        "repeat 2 { x <- x + hvp(w) }",
    ],
)
@pytest.mark.parametrize("times", ["3", "n"])
def test_what_no_round_changes_is_asked_before(round, times):
    assert left(f"repeat {times} {{ {round} }}") == {}


def test_a_curvature_that_left_its_loop_is_one():
    found = optimised(graph("repeat 3 { x <- x * dot(g, hvp(g)) }"))
    assert asked(found) == ({}, {"loss": 1, "grad": 1, "curvature": 1})


def test_what_left_a_loop_is_merged_with_what_was_asked_there():
    found = optimised(graph("x <- x + grad(w + g)  repeat 3 { x <- x + grad(w + g) }"))
    assert asked(found) == ({}, {"loss": 1, "grad": 2})


@pytest.mark.parametrize(
    ("body", "stays"),
    [
        ("repeat 3 { x <- x + hvp(x) }", {"hvp": 1}),
        ("repeat 3 { x <- x + grad(w + 0.1 * x) }", {"grad": 1}),
        ("repeat 3 { x <- x + hvp(normal(w)) }", {"hvp": 1}),
        (
            "repeat 3 { x <- x + pullback(sampled_outputs_grad(w)) }",
            {
                "pullback": 1,
                "sampled_outputs_grad": 1,
            },
        ),
        ("repeat 3 { x <- x + per_example_mean(e => e * norm(x)) }", {"per_example_mean": 1}),
        ("repeat 3 { if norm(x) > 1 { x <- x + hvp(g) } }", {"hvp": 1}),
        ("repeat 3 { every 2 { x <- x + hvp(g) } }", {"hvp": 1}),
        ("repeat 0 { x <- x + hvp(g) }", {"hvp": 1}),
        ("repeat 3 while norm(x) > 1 { x <- x + hvp(g) }", {"hvp": 1}),
        ("repeat 3 { repeat 2 while norm(x) > 1 { x <- x + hvp(g) } }", {"hvp": 1}),
    ],
)
def test_what_a_round_changes_or_may_not_ask_stays(body, stays):
    assert left(body) == stays


def test_a_loop_that_may_have_no_round_keeps_its_questions():
    assert left("repeat n { x <- x + hvp(g) }", n="n: int = 3 in [0, inf)") == {"hvp": 1}
    assert left("repeat n { x <- x + hvp(g) }", n="n: int = 3") == {"hvp": 1}


def test_a_condition_is_asked_before_the_first_round():
    assert left("repeat 3 while loss(w + g) > norm(x) { x <- x / 2 }") == {}
    assert left("repeat 3 while loss(w + x) > 1 { x <- x / 2 }") == {"loss": 1}


def test_what_leaves_the_condition_serves_the_body():
    found = optimised(graph("repeat 3 while norm(grad(w + g)) < norm(x) { x <- x + grad(w + g) }"))
    assert asked(found)[0] == {}


def test_the_printed_program_does_what_the_interpreter_does():
    rule = """
    rule precondition own(n: int = 3 in [1, inf)) {
      var x = g
      repeat n { x <- x / 2 + 0.1 * grad(w + 0.1 * g)  every 2 { x <- x + 0.1 * hvp(g) } }
      repeat 4 while loss(w + 0.1 * g) < 3 * norm(x) { x <- 0.5 * x + 0.1 * ggn(x) }
      return x
    }
    optimizer one() { precondition own()  tune step 0.1 }
    """
    trace = agree(rule, steps=2)
    assert trace.counts[0]["hvp"] == 3
