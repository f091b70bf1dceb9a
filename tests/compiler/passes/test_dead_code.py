"""Dropping what no result needs."""

from collections import Counter

from agreement import assert_same, graph_of, interpret
from specimens import SPECIMENS

from optc.compiler.graph import walk
from optc.compiler.passes import PIPELINE
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.verify import verify


def test_the_results_stay_and_nothing_else_does(specimen_name):
    graph = graph_of(SPECIMENS[specimen_name])
    again = verify(dead_code(graph), lean=True)
    assert_same(interpret(again, steps=3), interpret(graph, steps=3), rtol=0, atol=0)
    assert dead_code(again) == again


def test_the_whole_pipeline_changes_nothing_the_second_time(specimen_name):
    graph = graph_of(SPECIMENS[specimen_name])
    for run in PIPELINE:
        graph = run(graph)
    again = graph
    for run in PIPELINE:
        again = run(again)
    assert cse(again) == cse(graph)  # `finite` makes a constant that may be there


def left(body):
    graph = graph_of(
        f"rule precondition own() {{ {body} }}\n"
        "optimizer one() { precondition own()  tune step 0.1 }"
    )
    return Counter(node.op for node in walk(verify(dead_code(graph), lean=True).step))


def test_an_oracle_that_nobody_reads_is_not_asked():
    ops = left("h = hvp(g)  unused = dot(h, g)  return g")
    assert (ops["hvp"], ops["dot"]) == (0, 0)


def test_a_branch_loses_the_results_that_nobody_reads():
    ops = left("var a = 0  var b = 0  if t > 1 { a <- norm(g)  b <- sum(g) }  return a * g")
    assert (ops["norm"], ops["sum"]) == (1, 0)


def test_a_branch_that_nobody_reads_goes():
    ops = left("var a = 0  if t > 1 { a <- norm(g) }  return g")
    assert (ops["if"], ops["norm"]) == (0, 0)


def test_a_loop_that_nobody_reads_goes_and_one_that_is_read_keeps_what_it_carries():
    assert left("var a = 0  repeat 3 { a <- a + norm(g) }  return g")["loop"] == 0
    ops = left("var a = 1  var b = 1  repeat 3 { a <- 2 * a  b <- b + a }  return a * g")
    assert ops["loop"] == 1


def test_what_only_a_refusal_asked_goes_and_the_refusal_stays():
    text = SPECIMENS["static choices"]
    cleaned = verify(dead_code(graph_of(text)), lean=True)
    assert [refusal.message for refusal in cleaned.refusals] == ["too many"]
    assert not any(node.op == "gt" for node in walk(cleaned.step))
