"""Laws that hold for every spec, tried on random ones."""

from agreement import agree, assert_same, check, interpret, located, mistakes, specimen
from hypothesis import HealthCheck, given, settings
from specs_at_random import specs

from optc.compiler.driver import print_program
from optc.compiler.graph import Graph
from optc.compiler.passes import cse, dead_code, fold
from optc.compiler.view import verify

TRIED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@TRIED
@given(specs())
def test_a_random_spec_runs_as_its_graph_says_and_survives_everything(text):
    assert mistakes(text) == []
    case = specimen(text)
    for flag in (True, False) if "when flag" in text else (True,):
        agree(case, steps=3, flag=flag)

    before = interpret(case.plain, steps=2)
    for run in (fold, cse, dead_code):
        after = verify(run(case.plain))
        assert_same(interpret(after, steps=2), before, rtol=0, atol=0)

    for graph in (case.plain, case.graph):
        again = Graph.model_validate_json(graph.model_dump_json())
        assert again == graph
    assert print_program(case.plain).source == case.text
    assert [d.code for d in check(located(text))] == [d.code for d in check(located(text))]
