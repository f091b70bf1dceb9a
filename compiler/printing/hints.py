"""Names for values: what the spec calls them, or what their formula suggests."""

import builtins
import keyword
from collections.abc import Mapping

from ..graph import Node
from ..ops import ASKED, OPS

RESERVED = {
    *keyword.kwlist,
    *keyword.softkwlist,
    *dir(builtins),
    *("jax", "jnp", "rt", "slots", "h", "oracles", "tensor", "init", "step", "evaluate", "check"),
    *("matrices", "sets"),
    *("HYPERPARAMETERS", "GROUPS", "LIMITED"),
    *("l", "O", "I"),  # linters take them for digits
}
"""Names that a printed program uses itself, or that Python does."""

LOCAL = RESERVED - {"step", "evaluate", "init", "check", "matrices", "sets"}
"""Names that a variable cannot have; functions of the module may be shadowed inside functions."""

_LONGEST = 24

_INFIX = {
    "add": "plus",
    "sub": "minus",
    "mul": "times",
    "div": "over",
    "mod": "mod",
    "pow": "to",
    "lt": "below",
    "le": "up_to",
    "gt": "above",
    "ge": "from",
    "eq": "is",
    "ne": "is_not",
    "dot": "dot",
}

_NUMBERS = ((0, "zero"), (1, "one"), (2, "two"))

_PLAIN = {
    "add": "combined",
    "sub": "difference",
    "mul": "product",
    "div": "ratio",
    "pow": "power",
    "mod": "remainder",
    "where": "choice",
    "min": "least",
    "max": "most",
    "clamp": "clamped",
    "curvature": "curvature",
    "ggn_curvature": "gauss_newton_curvature",
    "hvp": "hessian_product",
    "ggn": "gauss_newton_product",
    "pullback": "pulled_back",
    "lanczos": "spectrum",
}


def identifier(name: str, reserved: set[str]) -> str:
    """The name, changed where it is not a free Python identifier."""
    return f"{name}_" if name in reserved else name


def hint(node: Node, nodes: Mapping[int, Node]) -> str:
    """What to call a value."""
    if node.name:
        return node.name
    if node.op == "point":
        return f"at_{hint(nodes[node.inputs[0]], nodes)}"
    if node.op in ASKED and nodes[node.inputs[0]].op == "point":
        return _asked(node, nodes)
    if OPS[node.op].op_class == "random" and not node.type.is_field:
        return node.op
    suggested = _formula(node, nodes)
    if suggested and len(suggested) <= _LONGEST:
        return suggested
    if node.type.dtype == "bool":
        return "due" if _is_period(node, nodes) else "condition"
    return _PLAIN.get(node.op, "value")


def _is_period(node: Node, nodes: Mapping[int, Node]) -> bool:
    """Whether a condition is that of `every n`."""
    return node.op == "eq" and nodes[node.inputs[0]].op == "mod"


def _asked(node: Node, nodes: Mapping[int, Node]) -> str:
    """The oracle, and the point where it has a name of its own."""
    at = nodes[nodes[node.inputs[0]].inputs[0]]
    name = _PLAIN.get(node.op, node.op)
    return f"{name}_at_{at.name}" if at.name and at.op != "input" else name


def _formula(node: Node, nodes: Mapping[int, Node]) -> str | None:
    parts = [_part(nodes[i], nodes) for i in node.inputs]
    if any(p is None for p in parts):
        return None
    words = [p for p in parts if p is not None]
    if node.op in _INFIX:
        return f"{words[0]}_{_INFIX[node.op]}_{words[1]}"
    if node.op == "neg":
        return f"minus_{words[0]}"
    if node.op == "norm":
        return f"{words[0]}_norm"
    if len(words) == 1:
        return f"{words[0]}_{node.op}"
    return None


def _part(node: Node, nodes: Mapping[int, Node]) -> str | None:
    if node.name:
        return node.name
    if node.op == "const":
        value = node["value"]
        return next((word for number, word in _NUMBERS if value == number), None)
    return _formula(node, nodes)
