"""Merge equal values: the same op on the same inputs is computed once.

Needs: a verified graph. Guarantees: bit-identical values; a node keeps the first name that any
of its equals had. A value inside a branch or loop may become one that was computed before in a
region around it, never one beside it. Points of the objective merge like all values, so equal
points are linearised once; control flow itself is left alone.
"""

from ..graph import Graph, Node, Region, is_plain_mean
from ..ops import MAKERS, OPS
from ..records import Scalar
from ..types import Type
from .rewrite import Replaced, over_regions, renamed, with_regions, with_results

Key = tuple[
    str, tuple[int, ...], tuple[tuple[str, Scalar], ...], tuple[type, ...], str | None, Type
]


def cse(graph: Graph) -> Graph:
    """See the module's docstring."""
    return over_regions(graph, lambda region: _merge(region, {}, {}, region is graph.start))


def _merge(region: Region, outer: dict[Key, int], replaced: Replaced, starts: bool) -> Region:
    seen = dict(outer)
    kept: dict[int, Node] = {}
    for original in region.nodes:
        node = renamed(original, replaced)
        if node.regions and not is_plain_mean(node):
            inner = (_merge(r, seen, replaced, starts) for r in node.regions)
            kept[node.id] = with_regions(node, inner)
            continue
        makes_buffers = OPS[node.op].op_class in ("fill", "opaque") or node.type.kind == "history"
        if node.op == "argument" or makes_buffers or (starts and node.op in MAKERS):
            # These make buffers, and two states that shared one could not both be donated.
            kept[node.id] = node
            continue
        first = seen.setdefault(_key(node), node.id)
        if first == node.id:
            kept[node.id] = node
            continue
        replaced[node.id] = first
        if node.name and first in kept and kept[first].name is None:
            kept[first] = kept[first].model_copy(update={"name": node.name})
    return with_results(region, kept.values(), replaced)


def _key(node: Node) -> Key:
    inputs = tuple(sorted(node.inputs)) if OPS[node.op].commutes else node.inputs
    # 1 == 1.0 == True in Python, so literals carry their type. Literals of different names stay
    # apart: `beta` should not be printed as `b1` because both are 0.9.
    kinds = tuple(type(value) for _, value in node.attributes)
    name = node.name if node.op == "const" else None
    return node.op, inputs, node.attributes, kinds, name, node.type
