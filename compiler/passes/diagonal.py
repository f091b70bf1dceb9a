"""Take diagonals and traces of products without the products: `diag(a @ b)` needs no `a @ b`.

The entries are the sums of rows of `a * b.T`: n^2 operations, where the product of two matrices of
that size is 2 n^3. Estimates of eigenvalues are of this form, `diag(Q.T @ P @ Q)`.

Needs: equal values merged, so that what is used once is seen. Guarantees: the same values up to the
order of sums. A product that something else uses stays, and its diagonal is taken of it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from ..graph import Graph, Node, Region, index, reads
from .dead_code import dead_code
from .rewrite import over_regions, with_regions


def diagonal(graph: Graph) -> Graph:
    """See the module's docstring."""
    nodes = index(graph)
    if not any(node.op in ("diagonal", "trace") for node in nodes.values()):
        return graph
    return dead_code(over_regions(graph, _Taking(nodes, reads(graph.regions())).region))


class _Taking:
    def __init__(self, nodes: Mapping[int, Node], uses: "Counter[int]") -> None:
        self._nodes = nodes
        self._uses = uses
        self._ids = count(max(nodes) + 1)

    def region(self, region: Region) -> Region:
        kept = []
        for node in region.nodes:
            kept += self._taken(with_regions(node, map(self.region, node.regions)))
        return region.model_copy(update={"nodes": tuple(kept)})

    def _taken(self, node: Node) -> list[Node]:
        """The node, or those that work it out in another way; the last has its id."""
        product = self._nodes[node.inputs[0]] if node.op in ("diagonal", "trace") else node
        if product.op != "matmul" or product is node or self._uses[product.id] > 1:
            return [node]
        a, b = (self._nodes[i] for i in product.inputs)
        made = []

        def new(op: str, *inputs: int, **changes: object) -> int:
            made.append(
                Node(
                    id=next(self._ids), op=op, inputs=inputs, type=a.type, stage=node.stage
                ).model_copy(update=changes)
            )
            return made[-1].id

        turned = b.inputs[0] if b.op == "transpose" else new("transpose", b.id)
        terms = new("mul", a.id, turned)
        if node.op == "trace":
            per = {"op": "sum", "inputs": (terms,), "attributes": (("per", "matrix"),)}
            return [*made, node.model_copy(update=per)]
        row = replace(a.type, per="row")
        sums = new("sum", terms, type=row, attributes=(("per", "row"),))
        return [*made, node.model_copy(update={"op": "onto_vector", "inputs": (sums,)})]
