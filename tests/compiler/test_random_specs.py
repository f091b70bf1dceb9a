"""Laws that hold for every spec, tried on random ones."""

from agreement import agree, assert_same, graph_of, interpret, mistakes, specimen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from specs_at_random import specs, specs_of_matrices

from optc.compiler.driver import print_program
from optc.compiler.graph import Graph
from optc.compiler.passes import PIPELINE
from optc.compiler.passes.contracts import contracts
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.fold import fold
from optc.compiler.passes.hoist import hoist
from optc.compiler.verify import verify

TRIED = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    # Each try compiles a program, so a failing spec is shown as it was found, not shrunk.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@TRIED
@given(specs(), st.sets(st.sampled_from([contract.name for contract in contracts()])))
def test_a_random_spec_runs_as_its_graph_says(text, without):
    assert mistakes(text) == []
    case = specimen(text)
    agree(case, steps=3)
    if "flag" in case.program.hyperparameters:
        agree(specimen(text, without), steps=2, flag=False)


@settings(TRIED, max_examples=2)
@given(specs_of_matrices())
def test_random_matrices_run_as_their_graph_says(text):
    assert mistakes(text) == []
    agree(specimen(text), steps=3)


@settings(TRIED, max_examples=6)
@given(specs_of_matrices())
def test_passes_keep_what_random_matrices_mean(text):
    """Factors are taken out of fields, so that they are rounded in another order."""
    graph = graph_of(text)
    before = interpret(graph, steps=2)
    for run in PIPELINE:
        graph = verify(run(graph))
    assert_same(interpret(graph, steps=2), before, rtol=1e-8, atol=1e-11)
    assert Graph.model_validate_json(graph.model_dump_json()) == graph


@settings(TRIED, max_examples=15)
@given(specs())
def test_passes_json_and_printing_hold_for_a_random_spec(text):
    graph = verify(graph_of(text))
    before = interpret(graph, steps=2)
    for run in (fold, hoist, cse, dead_code):
        assert_same(interpret(verify(run(graph)), steps=2), before, rtol=0, atol=0)
    assert Graph.model_validate_json(graph.model_dump_json()) == graph
    printed = print_program(graph)
    assert print_program(graph_of(text)).source == printed.source
    assert Graph.model_validate_json(printed.graph.model_dump_json()) == printed.graph
