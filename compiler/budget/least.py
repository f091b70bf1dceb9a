"""What a step moves at least: each weight, gradient and state read once, and written once.

From the graph: what nothing reads is not read, and a state that stays as it was is not written.
"""

from dataclasses import dataclass

from ..graph import Graph, index, walk
from .memory import StateBytes

WEIGHTS, GRADIENT = "the weights", "the gradient"
"""What they are called beside `precondition.mu` and other states."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The bytes of one thing that a step reads and writes."""

    name: str
    read: int
    written: int

    @property
    def bytes(self) -> int:
        """Both."""
        return self.read + self.written


def least(graph: Graph, weight_bytes: int, state: StateBytes) -> tuple[Moved, ...]:
    """The least of all tensors, for a graph without dead nodes; scalars are left out."""
    nodes = index(graph)
    step = list(walk(graph.step))
    roles = {output.role for output in graph.outputs}
    asked = {nodes[node.inputs[0]].inputs[0] for node in step if node.op == "grad"}
    at_weights = any(nodes[i].op == "input" for i in asked)
    points = {node.id for node in step if node.op == "point"}
    weights = {node.id for node in step if node.op == "input" and node["name"] == "w"}
    reads = any(weights & set(node.inputs) for node in step if node.id not in points)
    found = [
        Moved(WEIGHTS, weight_bytes * (bool(roles & {"step", "moved"}) or reads), weight_bytes),
        Moved(GRADIENT, weight_bytes * at_weights, 0),
    ]
    read = {int(node["name"]) for node in step if node.op == "state"}
    for output, result in zip(graph.outputs, graph.step.results, strict=True):
        if output.role == "slot":
            slot, number = state.slots[output.index], output.index
            size = sum(slot.groups.values())
            stays = nodes[result].op == "state" and int(nodes[result]["name"]) == number
            name = f"{slot.stage}.{slot.name}"
            found.append(Moved(name, size * (number in read), size * (not stays)))
    return tuple(each for each in found if each.bytes)
