"""What a printed program says of its tensors, so that the runtime may stack some of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..graph import Graph, Node
from ..ops import MAKERS, OPS
from ..records import Term


@dataclass(frozen=True)
class Kinds:
    """Sets of tensors, by number: those that go through work on matrices, and what divides them.

    A tensor goes through such work where one of `matrices` has it. Tensors of one shape and dtype
    are told apart by what `sets` say, which ask for their paths.
    """

    matrices: tuple[int, ...]
    sets: tuple[int, ...]


def kinds(graph: Graph, nodes: Mapping[int, Node], printed: Collection[int]) -> Kinds:
    """The kinds of tensors of a program, of whose sets the `printed` ones matter."""
    works = {n.type.domain for n in nodes.values() if _is_matrix_work(n)}
    outer = (d for d in sorted(works) if not any(graph.is_within(d, e) for e in works - {d}))
    by_path = (d for d in sorted(printed) if _reads_path(graph.domains[d].predicate))
    return Kinds(tuple(outer), tuple(by_path) if works else ())


def _is_matrix_work(node: Node) -> bool:
    """Whether a node is a product or a factor of matrices, and no mere way to write one."""
    return OPS[node.op].op_class == "matrix" and node.op not in MAKERS


def _reads_path(term: Term) -> bool:
    return term.op == "path" or any(map(_reads_path, term.terms))
