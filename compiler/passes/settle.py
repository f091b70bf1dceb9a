"""Let values in a group's view count to the tensors of the group: one set, one mask.

Needs: a verified graph; no later pass compares arrangements. Guarantees: the same values. A domain
that differs from its parent by its view alone is no longer used; those in it keep the view, which
their predicates need.
"""

from collections.abc import Callable
from dataclasses import replace

from ..graph import Graph, Node, Region
from ..rearrange import rank
from ..records import Refusal
from .rewrite import over_regions, with_regions


def settle(graph: Graph) -> Graph:
    """See the module's docstring."""
    domains = graph.domains
    moved = {
        number: domain.parent
        for number, domain in enumerate(domains)
        if domain.view is not None
        and domain.view != domains[domain.parent].view
        and domain.predicate == rank(domain.view)
    }
    if not moved:
        return graph

    def to(number: int) -> int:
        return moved.get(number, number)

    def node(old: Node) -> Node:
        type = replace(old.type, domain=to(old.type.domain))
        attributes = old.attributes
        if old.op == "merge":
            attributes = (("domain", to(int(old["domain"]))),)
        new = old.model_copy(update={"type": type, "attributes": attributes})
        return with_regions(new, [region(r) for r in new.regions])

    def region(old: Region) -> Region:
        return old.model_copy(update={"nodes": tuple(node(n) for n in old.nodes)})

    changed = over_regions(graph, region)
    slots = (replace(s, type=replace(s.type, domain=to(s.type.domain))) for s in graph.slots)
    return changed.model_copy(
        update={
            "domains": tuple(replace(d, parent=to(d.parent)) for d in domains),
            "stages": tuple(replace(s, domain=to(s.domain)) for s in graph.stages),
            "refusals": tuple(_refusal(r, to) for r in graph.refusals),
            "slots": tuple(slots),
        }
    )


def _refusal(old: Refusal, to: Callable[[int], int]) -> Refusal:
    return old if old.domain is None else replace(old, domain=to(old.domain))
