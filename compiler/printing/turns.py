"""Staggered work that is printed as one call with what is around it."""

from collections.abc import Iterable, Mapping, Sequence

from ..graph import Node
from ..plan import Kernel, Plan


def turn_in(node: Node, plan: Plan) -> Node | None:
    """The staggered work that is all that is done on the other side of a choice.

    Only where all that is kept is what the choice results in, which its first side makes by
    kernels: work on each tensor alone.
    """
    if node.op != "if" or plan.nodes[node.inputs[0]].type.static:
        return None
    first, other = plan.inner[node.id]
    found = [plan.nodes[i] for i in other.steps if not isinstance(i, Kernel)]
    turns = [each for each in found if each.op == "stagger"]
    alone = len(turns) == 1 and all(each.op in ("stagger", "item") for each in found)
    by_kernels = all(isinstance(step, Kernel) for step in first.steps)
    if not (alone and by_kernels and len(found) == len(other.steps)):
        return None
    items = [plan.nodes[i] for i in other.results]
    kept = sorted(int(item["index"]) for item in items if item.op == "item")
    whole = kept == list(range(len(turns[0].inputs) - 2)) and len(kept) == len(items)
    return turns[0] if whole else None


def made_of(
    kept: Sequence[int], kernels: Iterable[Kernel], nodes: Mapping[int, Node]
) -> tuple[int, ...]:
    """What kernels make of what is kept, and is not kept itself."""
    found: list[int] = []
    for kernel in kernels:
        read = set(kept)
        for id in kernel.nodes:
            if read.intersection(nodes[id].inputs):
                read.add(id)
        found += [id for id in kernel.results if id in read and id not in kept]
    return tuple(found)
