"""The networkx view."""

import networkx as nx
from agreement import graph_of
from specimens import SPECIMENS

from optc.compiler.graph import walk
from optc.compiler.view import view


def named(graph, op):
    return next(node for node in walk(graph.step) if node.op == op)


def test_a_product_of_a_value_with_itself_has_two_edges(graph):
    product = next(n for n in walk(graph.step) if n.op == "mul" and len(set(n.inputs)) == 1)
    seen = view(graph)
    assert isinstance(seen, nx.MultiDiGraph)
    assert seen.number_of_edges(product.inputs[0], product.id) == 2
    ports = {d["port"] for d in seen.get_edge_data(product.inputs[0], product.id).values()}
    assert ports == {0, 1}


def test_every_node_of_every_region_is_in_the_view(specimen_name):
    graph = graph_of(SPECIMENS[specimen_name])
    seen = view(graph)
    assert set(seen) == {n.id for region in graph.regions() for n in walk(region)}
    assert nx.is_directed_acyclic_graph(seen)


def test_what_stands_inside_control_flow_says_so(graph):
    seen, branch = view(graph), named(graph, "if")
    inside = {i for i in seen if seen.nodes[i]["within"] == branch.id}
    assert inside == {n.id for region in branch.regions for n in walk(region)}
    used = {i for region in branch.regions for n in walk(region) for i in n.inputs} - inside
    assert used <= set(seen.predecessors(branch.id))
