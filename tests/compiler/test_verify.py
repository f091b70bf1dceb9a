"""The verifier: each way in which a graph can be broken."""

from dataclasses import replace

import pytest
from agreement import graph_of
from specimens import SPECIMENS

from optc.compiler.graph import Node, Region, walk
from optc.compiler.passes import PIPELINE
from optc.compiler.types import SCALAR
from optc.compiler.verify import InvalidGraphError, verify


def replaced(graph, change):
    """The graph with each node of the step, and of regions in it, changed."""

    def region(old):
        nodes = []
        for node in old.nodes:
            inner = tuple(region(r) for r in node.regions)
            nodes.append(change(node.model_copy(update={"regions": inner})))
        return old.model_copy(update={"nodes": tuple(n for n in nodes if n is not None)})

    return graph.model_copy(update={"step": region(graph.step)})


def named(graph, op):
    return next(node for node in walk(graph.step) if node.op == op)


def with_node(graph, node):
    step = graph.step
    return graph.model_copy(update={"step": step.model_copy(update={"nodes": (*step.nodes, node)})})


def free_id(graph):
    return 1 + max(node.id for region in graph.regions() for node in walk(region))


def test_what_the_compiler_makes_is_well_formed(specimen_name):
    graph = verify(graph_of(SPECIMENS[specimen_name]))
    for run in PIPELINE:
        graph = verify(run(graph))
    assert verify(graph, lean=True) is graph


def test_a_cycle_is_refused(graph):
    m = next(n for n in walk(graph.step) if n.op == "add")
    first = m.inputs[0]
    broken = replaced(
        graph, lambda n: n.model_copy(update={"inputs": (m.id, m.id)}) if n.id == first else n
    )
    with pytest.raises(InvalidGraphError, match="not defined before"):
        verify(broken)


def test_use_before_definition_is_refused(graph):
    step = graph.step
    broken = graph.model_copy(update={"step": step.model_copy(update={"nodes": step.nodes[::-1]})})
    with pytest.raises(InvalidGraphError, match="not defined before"):
        verify(broken)


def test_an_id_that_is_used_twice_is_refused(graph):
    with pytest.raises(InvalidGraphError, match="used twice"):
        verify(with_node(graph, graph.step.nodes[0]))


def test_a_second_writer_of_a_state_is_refused(graph):
    place = next(i for i, o in enumerate(graph.outputs) if o.role == "slot")
    results = (*graph.step.results, graph.step.results[place])
    broken = graph.model_copy(
        update={
            "outputs": (*graph.outputs, graph.outputs[place]),
            "step": graph.step.model_copy(update={"results": results}),
        }
    )
    with pytest.raises(InvalidGraphError, match="2 writers"):
        verify(broken)


def test_a_state_without_a_writer_is_refused(graph):
    kept = [i for i, o in enumerate(graph.outputs) if o.role != "slot"]
    broken = graph.model_copy(
        update={
            "outputs": tuple(graph.outputs[i] for i in kept),
            "step": graph.step.model_copy(
                update={"results": tuple(graph.step.results[i] for i in kept)}
            ),
        }
    )
    with pytest.raises(InvalidGraphError, match="0 writers"):
        verify(broken)


def test_outputs_and_results_that_differ_in_number_are_refused(graph):
    with pytest.raises(InvalidGraphError, match="differ in number"):
        verify(graph.model_copy(update={"outputs": graph.outputs[:-1]}))


def test_slots_and_start_values_that_differ_are_refused(graph):
    start = graph.start.model_copy(update={"results": ()})
    with pytest.raises(InvalidGraphError, match="start values differ"):
        verify(graph.model_copy(update={"start": start}))


def test_an_unknown_op_is_refused(graph):
    norm = named(graph, "norm").id
    broken = replaced(graph, lambda n: n.model_copy(update={"op": "frob"}) if n.id == norm else n)
    with pytest.raises(InvalidGraphError, match="no op frob"):
        verify(broken)


def test_a_wrong_number_of_inputs_is_refused(graph):
    norm = named(graph, "norm")
    twice = {"inputs": norm.inputs * 2}
    broken = replaced(graph, lambda n: n.model_copy(update=twice) if n.id == norm.id else n)
    with pytest.raises(InvalidGraphError, match="takes 1 inputs and has 2"):
        verify(broken)


def test_a_value_of_unknown_type_is_refused(graph):
    norm = named(graph, "norm")
    unknown = {"type": norm.type.__class__("unknown")}
    broken = replaced(graph, lambda n: n.model_copy(update=unknown) if n.id == norm.id else n)
    with pytest.raises(InvalidGraphError, match="has no type"):
        verify(broken)


def test_a_value_of_a_branch_cannot_be_used_outside_it(graph):
    inner = named(graph, "norm")
    user = Node(id=free_id(graph), op="abs", inputs=(inner.id,), type=SCALAR)
    with pytest.raises(InvalidGraphError, match="not defined before"):
        verify(with_node(graph, user))


def test_a_value_of_one_side_cannot_be_used_on_the_other(graph):
    branch = named(graph, "if")
    first, second = branch.regions
    inner = next(n for n in first.nodes if n.op == "norm")
    swapped = Region(nodes=second.nodes, results=(inner.id,))

    def change(node):
        if node.id != branch.id:
            return node
        return node.model_copy(update={"regions": (first, swapped)})

    with pytest.raises(InvalidGraphError, match="does not see"):
        verify(replaced(graph, change))


def test_a_result_that_nothing_gives_is_refused(graph):
    item = named(graph, "item")
    beyond = {"attributes": (("index", 7),)}
    broken = replaced(graph, lambda n: n.model_copy(update=beyond) if n.id == item.id else n)
    with pytest.raises(InvalidGraphError, match="past the results"):
        verify(broken)


def test_a_value_of_some_tensors_cannot_be_read_for_all():
    graph = graph_of(SPECIMENS["choices by tensor"])
    node = next(n for n in walk(graph.step) if n.op == "sqrt" and n.type.domain)
    user = Node(id=free_id(graph), op="neg", inputs=(node.id,), type=node.type.__class__("field"))
    with pytest.raises(InvalidGraphError, match="its input has not"):
        verify(with_node(graph, user))


def test_a_value_without_a_use_is_refused_only_where_the_graph_should_be_lean(graph):
    grad = named(graph, "grad").id
    unused = Node(id=free_id(graph), op="norm", inputs=(grad,), type=SCALAR)
    verify(with_node(graph, unused))
    with pytest.raises(InvalidGraphError, match=f"without a use: \\[{unused.id}\\]"):
        verify(with_node(graph, unused), lean=True)


def test_a_shape_that_no_product_has_is_refused():
    graph = graph_of(SPECIMENS["matrices"])
    product = next(n for n in walk(graph.step) if n.op == "matmul" and n.type.dims == (-2, -2))
    for dims, message in (((-1, -1), "is said to be"), (None, "is said to be")):
        type = replace(product.type, dims=dims)
        change = {"id": free_id(graph), "type": type}
        with pytest.raises(InvalidGraphError, match=message):
            verify(with_node(graph, product.model_copy(update=change)))


def test_arithmetic_on_two_shapes_is_refused():
    graph = graph_of(SPECIMENS["matrices"])
    product = next(n for n in walk(graph.step) if n.op == "matmul" and n.type.dims == (-2, -2))
    weights = next(n for n in walk(graph.step) if n.op == "input" and n["name"] == "w")
    inputs = (product.id, weights.id)
    added = Node(id=free_id(graph), op="add", inputs=inputs, type=product.type)
    with pytest.raises(InvalidGraphError, match="several shapes"):
        verify(with_node(graph, added))


def test_staggered_work_makes_all_that_it_keeps():
    graph = graph_of(SPECIMENS["turns"])
    turn = next(n for n in walk(graph.step) if n.op == "stagger")
    (region,) = turn.regions
    fewer = {"regions": (region.model_copy(update={"results": region.results[1:]}),)}
    broken = replaced(graph, lambda n: n.model_copy(update=fewer) if n.id == turn.id else n)
    with pytest.raises(InvalidGraphError, match="keeps what it does not make"):
        verify(broken)
