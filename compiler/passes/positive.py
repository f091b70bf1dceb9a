"""Which scalars are surely positive: by literals, the ranges of hyperparameters, and `t >= 1`."""

from collections.abc import Mapping

from ..graph import Graph, Node


class Signs:
    """What is known of the scalars of a graph. Nothing is known of states and reductions."""

    def __init__(self, graph: Graph) -> None:
        self.parameters = {h.name: h for h in graph.hyperparameters}

    def is_positive(self, id: int, nodes: Mapping[int, Node]) -> bool:
        """Whether it is above 0 for all values that may be bound."""
        node = nodes[id]
        match node.op:
            case "const":
                return isinstance(node["value"], int | float) and node["value"] > 0
            case "parameter":
                known = self.parameters[str(node["name"])]
                low = known.low
                return low is not None and (low > 0 or (low == 0 and known.low_open))
            case "input":
                return node["name"] == "t"
            case "sub":
                one, x = (nodes[i] for i in node.inputs)
                is_one = one.op == "const" and one["value"] == 1
                return is_one and self.is_fraction(x.id, nodes)
            case "add" | "mul" | "div" | "pow" | "sqrt":
                return all(self.is_positive(i, nodes) for i in node.inputs)
            case _:
                return False

    def is_fraction(self, id: int, nodes: Mapping[int, Node]) -> bool:
        """Whether it is at least 0 and below 1."""
        node = nodes[id]
        match node.op:
            case "const":
                return isinstance(node["value"], int | float) and 0 <= node["value"] < 1
            case "parameter":
                known = self.parameters[str(node["name"])]
                if known.low is None or known.high is None or known.low < 0:
                    return False
                return known.high < 1 or (known.high == 1 and known.high_open)
            case "mul":
                return all(self.is_fraction(i, nodes) for i in node.inputs)
            case "pow":
                base, exponent = node.inputs
                return self.is_fraction(base, nodes) and self.is_positive(exponent, nodes)
            case _:
                return False
