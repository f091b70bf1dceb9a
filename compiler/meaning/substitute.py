"""A graph whose hyperparameters have given values, or follow others."""

from collections.abc import Mapping

from ..graph import Graph, Node, Region, walk
from ..passes.rewrite import over_regions, renamed, with_regions
from ..records import Term
from ..types import DType, Type


def substituted(graph: Graph, terms: Mapping[str, Term]) -> Graph:
    """The graph with these terms in place of hyperparameters.

    They are declared as before, since the sizes of views may be named after them.
    """
    if not terms:
        return graph
    largest = max(node.id for region in graph.regions() for node in walk(region))
    arguments = [
        i for r in graph.regions() for n in walk(r) for x in n.regions for i in x.arguments
    ]
    fresh = iter(range(max([largest, *arguments]) + 1, 1 << 62))

    def made(term: Term, node: Node, kept: list[Node]) -> int:
        """The node of a term; the outermost keeps the id of what it replaces."""
        if term.op in ("literal", "parameter"):
            (value,) = term.arguments
            key = "value" if term.op == "literal" else "name"
            dtype: DType = "float" if isinstance(value, float) or key == "name" else "int"
            type = Type(
                "scalar", "bool" if isinstance(value, bool) else dtype, static=key != "name"
            )
            if isinstance(value, str) and term.op == "literal":
                type = Type("text", static=True)
            op = "const" if term.op == "literal" else "parameter"
            inputs: tuple[int, ...] = ()
            attributes = ((key, value),)
        else:
            op, type, attributes = term.op, Type("scalar"), ()
            inputs = tuple(
                made(each, node.model_copy(update={"id": next(fresh)}), kept) for each in term.terms
            )
        changed = {"op": op, "inputs": inputs, "type": type, "attributes": attributes}
        kept.append(node.model_copy(update=changed))
        return node.id

    def change(region: Region) -> Region:
        nodes: list[Node] = []
        for node in region.nodes:
            if node.op == "parameter" and str(node["name"]) in terms:
                made(terms[str(node["name"])], node, nodes)
            else:
                nodes.append(with_regions(renamed(node, {}), map(change, node.regions)))
        return region.model_copy(update={"nodes": tuple(nodes)})

    return over_regions(graph, change)
