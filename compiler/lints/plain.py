"""Values of a step as plain numbers, where they can be known without running it.

The arithmetic is that of floats: a division by zero is infinite or not a number, and whether that
matters is asked of what uses it. A choice whose condition is known is its chosen side.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ..lowering.draft import DraftNode
from ..ops import OPS, knots
from ..records import Scalar

Known = Callable[[DraftNode], Scalar | None]
"""What an input is: a parameter, `t`, a state; None where nobody knows."""

_NEITHER: dict[int, Scalar] = {}


def values(
    nodes: Mapping[int, DraftNode],
    roots: Iterable[int],
    known: Known,
    given: Mapping[int, Scalar] = _NEITHER,
) -> dict[int, Scalar]:
    """All that can be known of `roots` and of what they are made of.

    `given` are values by id, behind which nothing is looked at.
    """
    found = dict(given)
    _fill(cone(nodes, roots, given), nodes, known, found)
    return found


@dataclass(frozen=True)
class Curve:
    """A value as a function of the step count `t`, all other inputs fixed."""

    root: int
    moving: tuple[DraftNode, ...]
    nodes: Mapping[int, DraftNode]
    fixed: Mapping[int, Scalar]

    def __call__(self, t: int) -> float | None:
        """Its value at step `t`; None where a value is missing."""
        found = dict(self.fixed)
        _fill(self.moving, self.nodes, lambda node: t if _is_count(node) else None, found)
        value = found.get(self.root)
        return None if value is None or isinstance(value, str) else float(value)

    def all(self, t: int) -> Mapping[int, Scalar]:
        """Its value at step `t`, with all that it is made of."""
        found = dict(self.fixed)
        _fill(self.moving, self.nodes, lambda node: t if _is_count(node) else None, found)
        return found


def curve(nodes: Mapping[int, DraftNode], root: int, known: Known) -> Curve | None:
    """A value as a curve over `t`; None where it depends on more, or not on `t` at all."""
    whole = cone(nodes, (root,), _NEITHER)
    fixed: dict[int, Scalar] = {}
    _fill(whole, nodes, known, fixed)
    moving = tuple(node for node in whole if node.id not in fixed)
    made = Curve(root, moving, nodes, fixed)
    return made if moving and root not in fixed and made(1) is not None else None


def cone(
    nodes: Mapping[int, DraftNode], roots: Iterable[int], given: Mapping[int, Scalar]
) -> tuple[DraftNode, ...]:
    """The nodes that `roots` are made of, with themselves, in an order of evaluation."""
    seen: set[int] = set()
    left = [root for root in roots if root not in given]
    while left:
        id = left.pop()
        if id in seen or id not in nodes:
            continue
        seen.add(id)
        node = nodes[id]
        wanted = (*node.inputs, *(r for region in node.regions for r in region.results))
        left += [each for each in wanted if each not in given]
    # An id is given after those of everything that it is made of.
    return tuple(nodes[id] for id in sorted(seen))


def _fill(
    order: Iterable[DraftNode],
    nodes: Mapping[int, DraftNode],
    known: Known,
    found: dict[int, Scalar],
) -> None:
    for node in order:
        value = _value(node, nodes, known, found)
        if value is not None:
            found[node.id] = value


def _value(
    node: DraftNode, nodes: Mapping[int, DraftNode], known: Known, found: Mapping[int, Scalar]
) -> Scalar | None:
    operands = [found.get(i) for i in node.inputs]
    match node.op:
        case "const":
            return node["value"]
        case "parameter" | "input" | "state" | "argument":
            return known(node)
        case "where":
            condition, yes, no = operands
            if condition is None:
                return yes if yes == no else None
            return yes if condition else no
        case "merge":
            return operands[0] if operands[0] == operands[1] else None
        case "item":
            return _item(node, nodes[node.inputs[0]], found)
        case "zeros" | "ones":
            return float(node.op == "ones")
        case "full":
            return operands[1]
        case "restrict" | "copy":
            return operands[0]
    if OPS[node.op].op_class != "elementwise":
        return None
    if any(x is None for x in operands):
        return None
    return _applied(node, [x for x in operands if x is not None])


def _item(node: DraftNode, source: DraftNode, found: Mapping[int, Scalar]) -> Scalar | None:
    if source.op != "if":
        return None
    place = node["index"]
    assert isinstance(place, int)
    yes, no = (found.get(region.results[place]) for region in source.regions)
    condition = found.get(source.inputs[0])
    if condition is None:
        return yes if yes == no else None
    return yes if condition else no


def _is_count(node: DraftNode) -> bool:
    return node.op == "input" and node["name"] == "t"


# ---- arithmetic of floats


def _applied(node: DraftNode, operands: list[Scalar]) -> Scalar | None:
    if any(isinstance(x, str) for x in operands) and node.op not in ("eq", "ne"):
        return None
    gives = OPS[node.op].gives
    if gives != "bool" and any(isinstance(x, float) and math.isnan(x) for x in operands):
        return math.nan
    special = _SPECIAL.get(node.op)
    meaning = special or OPS[node.op].scalar
    if node.op == "interpolate":
        return _between(float(operands[0]), knots(node))
    if meaning is None:
        return None
    try:
        result = meaning(*operands)
    except OverflowError:
        return math.inf
    except (ArithmeticError, ValueError):
        return math.nan
    except TypeError:
        return None
    if isinstance(result, int) and not isinstance(result, bool) and abs(result) > 1 << 62:
        return float(result) if abs(result) < 1 << 1000 else math.inf
    return result if isinstance(result, int | float) else math.nan


def _div(x: float, y: float) -> float:
    if y != 0:
        return x / y
    return math.nan if x == 0 else math.copysign(math.inf, x) * math.copysign(1.0, y)


def _pow(x: float, y: float) -> float:
    # Exact integer powers can fill the memory, so all powers are those of floats.
    if x == 0 and y < 0:
        return math.inf
    result = float(x) ** float(y)
    return math.nan if isinstance(result, complex) else result


def _log(x: float) -> float:
    return -math.inf if x == 0 else math.log(x)


def _log1p(x: float) -> float:
    return -math.inf if x == -1 else math.log1p(x)


def _between(x: float, points: tuple[tuple[float, float], ...]) -> float:
    for (x0, y0), (x1, y1) in pairwise(points):
        if x < x1:
            return y0 if x <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def _whole(rounding: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: float(rounding(x)) if math.isfinite(x) else x


_SPECIAL: Mapping[str, Callable[..., float]] = {
    "div": _div,
    "pow": _pow,
    "log": _log,
    "log1p": _log1p,
    "clamp": lambda x, low, high: min(max(x, low), high),
    "round": _whole(round),
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
}
"""Ops that Python's own functions refuse, or that the table has no plain meaning for."""
