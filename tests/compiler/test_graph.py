"""The graph as a value: JSON out and in without loss, closed models, domains inside domains."""

import json

import pytest
from agreement import graph_of
from pydantic import ValidationError
from specimens import SPECIMENS

from optc.compiler import library
from optc.compiler.graph import Graph, index, walk
from optc.compiler.locate import find
from optc.compiler.passes import PIPELINE


def passed(graph):
    for run in PIPELINE:
        graph = run(graph)
    return graph


@pytest.mark.parametrize("name", library.names("optimizer"))
def test_json_of_a_shipped_optimizer_loses_nothing(name):
    graph = graph_of(find(name))
    assert Graph.model_validate_json(graph.model_dump_json()) == graph
    assert Graph.model_validate_json(passed(graph).model_dump_json()) == passed(graph)


def test_json_loses_nothing(specimen_name):
    graph = graph_of(SPECIMENS[specimen_name])
    again = Graph.model_validate_json(graph.model_dump_json())
    assert again == graph
    # 1, 1.0 and true are equal in Python; the text tells them apart.
    assert again.model_dump_json() == graph.model_dump_json()


def test_json_keeps_infinite_bounds_and_literals():
    graph = graph_of(
        "optimizer one(top = inf in (0, inf]) { tune step min(top, 0.1, inf) }".replace(
            "top = inf", "top = 1.0"
        )
    )
    assert Graph.model_validate_json(graph.model_dump_json()) == graph


def test_json_takes_nothing_that_it_does_not_know():
    fields = json.loads(graph_of("optimizer one() { tune step 0.1 }").model_dump_json())
    with pytest.raises(ValidationError):
        Graph.model_validate_json(json.dumps(fields | {"more": 1}))
    fields["step"]["nodes"][0]["op"] = 3
    with pytest.raises(ValidationError):
        Graph.model_validate_json(json.dumps(fields))


def test_a_graph_cannot_change():
    graph = graph_of("optimizer one() { tune step 0.1 }")
    with pytest.raises(ValidationError):
        graph.name = "other"


def test_index_and_walk_see_the_nodes_of_inner_regions():
    graph = graph_of(SPECIMENS["loops and choices"])
    ids = {node.id for region in graph.regions() for node in walk(region)}
    assert ids == set(index(graph))
    assert sum(len(region.nodes) for region in graph.regions()) < len(ids)


def test_a_domain_lies_within_itself_and_those_around_it():
    graph = graph_of(SPECIMENS["choices by tensor"])
    for number, domain in enumerate(graph.domains):
        assert graph.is_within(number, number)
        assert graph.is_within(number, domain.parent)
        assert graph.is_within(number, 0)
        assert number == 0 or not graph.is_within(0, number)
