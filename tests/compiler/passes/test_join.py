"""Choices by one condition become one choice, in which what both ask is asked once."""

from collections import Counter

import pytest
from agreement import agree, assert_same, graph_of, interpret
from specimens import SPECIMENS

from optc.compiler.graph import walk
from optc.compiler.graphs import optimised
from optc.compiler.passes.cse import cse
from optc.compiler.passes.join import join
from optc.compiler.verify import verify


def spec(*lines, body="return g"):
    return (
        f"rule precondition own() {{ {body} }}\n"
        f"optimizer one() {{ precondition own()  tune step 0.1  {'  '.join(lines)} }}"
    )


def graph(*lines, **how):
    return graph_of(spec(*lines, **how))


def counted(graph):
    return Counter(node.op for node in walk(graph.step))


def choices(graph):
    return counted(verify(join(cse(graph))))["if"]


def test_the_meaning_stays_bit_for_bit(specimen_name):
    plain = cse(graph_of(SPECIMENS[specimen_name]))
    again = verify(join(plain))
    assert_same(interpret(again, steps=4), interpret(plain, steps=4), rtol=0, atol=0)
    assert join(again) == again


PROBES = (
    "observe norm(hvp(g)) as one every 3",
    "observe norm(u) + norm(w) as between",
    "observe norm(hvp(g) - ggn(u)) * norm(u) as two every 3",
    "observe norm(hvp(u), per = tensor) as three every 2",
)


def test_probes_of_one_period_share_a_choice_and_what_they_ask():
    plain = graph(*PROBES)
    found = counted(optimised(plain))
    assert (counted(plain)["if"], found["if"]) == (3, 2)
    assert (found["hvp"], found["ggn"], found["point"]) == (2, 1, 3)


def test_the_printed_program_does_what_the_interpreter_does():
    agree(spec(*PROBES), steps=4)


@pytest.mark.parametrize(
    "body",
    [
        "var a = g  if t > 2 { a <- 2 * a }  if t > 2 { a <- a + 1 }  return a",
        "var a = g  if t > 2 { a <- 2 * a }  var c = a + 1  if t > 2 { c <- 2 * c }  return c",
        "var a = g  if t > 2 { a <- 2 * a }  var c = g  if t > 1 { c <- 3 * c }  return a + c",
    ],
    ids=["what it changes is read", "so it is on the way", "another condition"],
)
def test_what_needs_the_other_or_asks_something_else_stays(body):
    assert choices(graph(body=body)) == 2


def test_choices_of_a_branch_and_of_a_loop_are_joined():
    two = "if t > 3 { a <- 2 * a }  if t > 3 { b <- 3 * b }"
    variables = "var a = g  var b = g"
    assert choices(graph(body=f"{variables}  repeat 2 {{ {two} }}  return a + b")) == 1
    assert choices(graph(body=f"{variables}  if t > 1 {{ {two} }}  return a + b")) == 2


def test_alignments_of_a_step_have_their_signs_in_common():
    # So that XLA merges the derivatives, and equal ones are one here.
    twice = [f"observe neural_feature_alignment() as a{i} every 2" for i in range(2)]
    assert counted(optimised(graph(*twice)))["feature_alignment"] == 1
