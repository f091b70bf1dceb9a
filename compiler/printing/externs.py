"""Printing transformations of optax: a function that makes each of them, and the calls of it."""

from collections.abc import Mapping

from ..graph import Graph, Node
from ..quoting import quoted
from ..records import Scalar, distinct
from .expressions import literal
from .hints import RESERVED, identifier
from .layout import Labelled, Piece, call, lines, signature

Maker = tuple[int, tuple[tuple[str, Scalar], ...]]
"""What makes one transformation: the stage, and the attributes that say of what it is made."""


def extern_names(nodes: Mapping[int, Node], taken: set[str]) -> dict[int, str]:
    """The maker's name for each node that starts or applies a transformation; `taken` grows."""
    names: dict[Maker, str] = {}
    found: dict[int, str] = {}
    for id, node in nodes.items():
        if node.op not in ("extern", "extern_init"):
            continue
        maker = _maker(node)
        if maker not in names:
            names[maker] = distinct(f"extern_{node['name']}", taken)
            taken.add(names[maker])
        found[id] = names[maker]
    return found


def modules(nodes: Mapping[int, Node]) -> list[str]:
    """What is imported for the transformations: optax comes with its contrib."""
    found = {str(n["module"]) for n in nodes.values() if n.op in ("extern", "extern_init")}
    return sorted({"optax" if m == "optax.contrib" else m for m in found})


def maker_lines(graph: Graph, nodes: Mapping[int, Node], names: Mapping[int, str]) -> list[str]:
    """The functions that make the transformations."""
    rows: list[str] = []
    written: set[str] = set()
    for id, name in names.items():
        if name in written:
            continue
        written.add(name)
        rows += ["", "", *_function(graph, nodes[id], name)]
    return rows


def _function(graph: Graph, node: Node, name: str) -> list[str]:
    path = f"{node['module']}.{node['function']}"
    reserved = RESERVED | {path.partition(".")[0]}
    inputs = str(node["inputs"]).split()
    own = {each: identifier(each, reserved) for each in inputs}
    arguments: list[Piece] = [f"{each}={own[each]}" for each in inputs]
    for key, value in node.attributes:
        if key.startswith("="):
            arguments.append(Labelled(f"{key[1:]}=", literal(value)[0]))
    line = graph.stages[node.stage] if node.stage >= 0 else None
    place = f"{line.place} | {line.text}" if line else graph.file
    rows = lines(call("rt.extern", quoted(place)), 0, "@")
    rows += signature(name, list(own.values()))
    return [*rows, *lines(call(path, *arguments), 1, "return ")]


def _maker(node: Node) -> Maker:
    made = tuple((key, value) for key, value in node.attributes if key != "extra")
    return node.stage, made
