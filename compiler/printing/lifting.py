"""What a printed program says of its tensors, so that the runtime may lay some of them together."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ..graph import Graph, Node
from ..ops import MAKERS, OPS
from ..types import Type


@dataclass(frozen=True)
class Kinds:
    """Sets of tensors, by number: those that work sees as more than single elements.

    A tensor goes through work on matrices where one of `matrices` has it, and is seen `whole` where
    one of these has it: all others may lie in one vector. With 0 among these there are no others.
    Tensors that may lie together are told apart by what `sets` say.
    """

    matrices: tuple[int, ...]
    whole: tuple[int, ...]
    sets: tuple[int, ...]

    @property
    def packs(self) -> bool:
        """Whether some tensors may lie in one vector."""
        return 0 not in self.whole


def kinds(graph: Graph, nodes: Mapping[int, Node], printed: Collection[int]) -> Kinds:
    """The kinds of tensors of a program, of whose sets the `printed` ones matter."""
    matrices = _outer(graph, {n.type.domain for n in nodes.values() if _is_matrix_work(n)})
    whole = _outer(graph, {d for n in nodes.values() for d in _seen_whole(n, nodes)})
    told = tuple(sorted(printed)) if matrices or 0 not in whole else ()
    return Kinds(matrices, whole, told)


def _outer(graph: Graph, domains: set[int]) -> tuple[int, ...]:
    """The sets that are no part of another one."""
    return tuple(
        d for d in sorted(domains) if not any(graph.is_within(d, e) for e in domains - {d})
    )


def _is_matrix_work(node: Node) -> bool:
    """Whether a node is a product or a factor of matrices, and no mere way to write one."""
    return OPS[node.op].op_class == "matrix" and node.op not in MAKERS


_WHOLE = ("shape", "matrix", "history", "spectral", "opaque")
"""Classes of ops that see more of a tensor than its elements, one by one or all of the weights."""

_WHOLE_OPS = ("nans", "stagger", "measured", "feature_alignment", "fisher_rows", "fisher_columns")


def _seen_whole(node: Node, nodes: Mapping[int, Node]) -> Iterator[int]:
    """The sets of tensors that a node sees as more than single elements."""
    sees = OPS[node.op].op_class in _WHOLE or node.op in _WHOLE_OPS
    if node.type.is_field:
        if sees or not _is_elements(node.type):
            yield node.type.domain
    elif sees:
        yield from (nodes[i].type.domain for i in node.inputs if nodes[i].type.is_field)


def _is_elements(type: Type) -> bool:
    """Whether a field has one number for each weight, and is of no other shape or meaning."""
    return type.is_like_weights and not type.is_indices
