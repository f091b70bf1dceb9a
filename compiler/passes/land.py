"""Have a step that is taken only now and then lead to the next weights where it is made.

Below `accumulate` a step is zeros on most calls, which would be written, and subtracted from every
weight. So the side of the choice that makes the step gives the weights that it leads to,
`moved(w, step)`, and the other side those that are there, `unmoved(w)`, which XLA passes on where
they lie. Who asks for the step itself, as an optax transformation does, still gets it: that is
decided when a program is traced.

Weights that are `w - step` with nothing in between, as an average leaves them, are said by their
step, which is then exact as an update. What else reads them, reads `w + -step`: that is how updates
are applied, so XLA makes the next weights once.

Needs: equal values merged. Guarantees: the same next weights to the last bit; what it leaves
without a use is for `dead_code`. It never touches a choice that is made before the program runs.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, count
from typing import Literal

from ..graph import Graph, Node, Region, index
from ..records import Output
from ..types import FIELD
from .rewrite import with_regions


def land(graph: Graph) -> Graph:
    """See the module's docstring."""
    roles = [output.role for output in graph.outputs]
    place = next((i for i, role in enumerate(roles) if role in ("step", "weights")), None)
    if place is None:
        return graph
    nodes = index(graph)
    result = nodes[graph.step.results[place]]
    if roles[place] == "weights" and _is_next(result, nodes):
        nodes_then = _summed(graph.step.nodes, result, max(nodes) + 1)
        return _with_outcome(graph, place, "step", nodes_then, result.inputs[1])
    choice = nodes[result.inputs[0]] if result.op == "item" else result
    if choice.op != "if" or nodes[choice.inputs[0]].type.static:
        return graph
    return _landed(graph, place, result, choice)


def _landed(graph: Graph, place: int, result: Node, choice: Node) -> Graph:
    """The graph whose step a choice makes, with the next weights made there."""
    nodes = index(graph)
    weights = next((n.id for n in graph.step.nodes if _is_weights(n)), None)
    wanted = [nodes[region.results[int(result["index"])]] for region in choice.regions]
    steps = [_step(value, graph.outputs[place], nodes) for value in wanted]
    if weights is None or None in steps or () not in steps:
        return graph
    new = count(max(nodes) + 1)
    regions: list[Region] = []
    for region, value, step in zip(choice.regions, wanted, steps, strict=True):
        assert step is not None
        op, inputs = ("moved", (weights, *step)) if step else ("unmoved", (weights,))
        node = Node(id=next(new), op=op, inputs=inputs, type=FIELD, stage=value.stage)
        inside = region.nodes
        if _is_next(value, nodes):
            inside = _summed(inside, value, next(new))
        end = next((i for i, n in enumerate(inside, 1) if n.id == value.id), len(inside))
        after = (*inside[:end], node, *inside[end:])
        made = {"nodes": after, "results": (*region.results, node.id)}
        regions.append(region.model_copy(update=made))
    place_there = (("index", len(choice.regions[0].results)),)
    item = result.model_copy(update={"id": next(new), "attributes": place_there, "name": "moved"})
    choosing = with_regions(choice, regions)
    kept = (choosing if node.id == choice.id else node for node in graph.step.nodes)
    return _with_outcome(graph, place, "moved", (*kept, item), item.id)


def _summed(nodes: tuple[Node, ...], value: Node, new: int) -> tuple[Node, ...]:
    """Some nodes with next weights among them as a sum, with a node `new` before it."""
    weights, step = value.inputs
    change = Node(id=new, op="neg", inputs=(step,), type=FIELD, stage=value.stage, name="change")
    total = value.model_copy(update={"op": "add", "inputs": (weights, new)})
    runs = ((change, total) if node.id == value.id else (node,) for node in nodes)
    return tuple(chain.from_iterable(runs))


def _step(value: Node, output: Output, nodes: Mapping[int, Node]) -> tuple[int, ...] | None:
    """The step that a side of a choice takes; empty where it takes none, None if it is not seen."""
    if output.role == "step":
        return () if value.op == "zeros" else (value.id,)
    if _is_weights(value):
        return ()
    return value.inputs[1:] if _is_next(value, nodes) else None


def _is_next(value: Node, nodes: Mapping[int, Node]) -> bool:
    """Whether a value is the weights minus a field."""
    if value.op != "sub" or value.type != FIELD:
        return False
    weights, step = (nodes[i] for i in value.inputs)
    return _is_weights(weights) and step.type == FIELD


def _is_weights(node: Node) -> bool:
    return node.op == "input" and node["name"] == "w"


def _with_outcome(
    graph: Graph, place: int, role: Literal["step", "moved"], nodes: tuple[Node, ...], result: int
) -> Graph:
    outputs, results = list(graph.outputs), list(graph.step.results)
    outputs[place] = replace(outputs[place], role=role)
    results[place] = result
    step = Region(arguments=graph.step.arguments, nodes=nodes, results=tuple(results))
    return graph.model_copy(update={"outputs": tuple(outputs), "step": step})
