"""A graph whose hyperparameters have given values, or follow others."""

from collections.abc import Iterator, Mapping

from ..graph import Graph, Node, Region, walk
from ..passes.rewrite import over_regions, with_regions
from ..records import Term
from ..types import Type, dynamic


def substituted(graph: Graph, terms: Mapping[str, Term]) -> Graph:
    """The graph with these terms in place of hyperparameters.

    They are declared as before, since the sizes of views may be named after them.
    """
    if not terms:
        return graph
    fresh = _fresh(graph)

    def made(term: Term, node: Node, kept: list[Node]) -> int:
        """The node of a term in place of a parameter, whose id it has, and those it is made of."""
        if term.op == "literal":
            (value,) = term.arguments
            is_float = node.type.dtype == "float" and node.type.is_scalar
            literal = float(value) if is_float and isinstance(value, int | float) else value
            changed = node.model_copy(update={"op": "const", "attributes": (("value", literal),)})
        elif term.op == "parameter":
            changed = node.model_copy(update={"attributes": (("name", term.arguments[0]),)})
        else:
            parts = [node.model_copy(update={"id": next(fresh)}) for _ in term.terms]
            inputs = tuple(
                made(each, part, kept) for each, part in zip(term.terms, parts, strict=True)
            )
            update = {"op": term.op, "inputs": inputs, "attributes": ()}
            changed = node.model_copy(update=update | {"type": dynamic(Type("scalar"))})
        kept.append(changed)
        return node.id

    def change(region: Region) -> Region:
        nodes: list[Node] = []
        for node in region.nodes:
            if node.op == "parameter" and str(node["name"]) in terms:
                made(terms[str(node["name"])], node, nodes)
            else:
                nodes.append(with_regions(node, map(change, node.regions)))
        return region.model_copy(update={"nodes": tuple(nodes)})

    return over_regions(graph, change)


def _fresh(graph: Graph) -> Iterator[int]:
    """Ids that nothing in the graph has."""
    nodes = [node for region in graph.regions() for node in walk(region)]
    taken = [node.id for node in nodes]
    taken += [i for node in nodes for region in node.regions for i in region.arguments]
    yield from range(max(taken) + 1, 1 << 62)
