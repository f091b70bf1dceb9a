"""Intervals: between which numbers each value of a step lies, whatever the gradients are.

Hyperparameters are taken at their defaults, and within their ranges where they have none. States
start where the spec starts them and grow to what the step makes of them, by way of a few round
numbers, so that a mean of numbers in [-1, 1] is seen to stay there. NaN is not a number here, and
rounding is left out of account. Conditions are numbers: 1 holds, 0 does not.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from ..constants import apply
from ..lowering.draft import Draft, DraftNode
from ..ops import OPS
from ..records import Hyperparameter, Scalar
from .flow import Flow

_INF = math.inf


class Interval(NamedTuple):
    """All numbers from `low` to `high`, both included."""

    low: float
    high: float

    @property
    def point(self) -> float | None:
        """The number, where it is one only."""
        return self.low if self.low == self.high else None


ALL = Interval(-_INF, _INF)
ZERO = Interval(0.0, 0.0)
ONE = Interval(1.0, 1.0)
EITHER = Interval(0.0, 1.0)
POSITIVE = Interval(0.0, _INF)
STEPS = Interval(1.0, _INF)
"""The values of `t`."""

_ROUNDS = 3
"""How often states and loops are followed before a bound that grows is let go to the next mark."""

_MARKS = (-_INF, -1.0, 0.0, 1.0, _INF)
"""Where bounds that grow are tried."""


def hull(one: Interval, other: Interval) -> Interval:
    """The smallest interval that holds both."""
    return Interval(min(one.low, other.low), max(one.high, other.high))


def of_parameter(parameter: Hyperparameter) -> Interval:
    """The default of a hyperparameter, or its range where it has none."""
    value = parameter.default
    if isinstance(value, int | float):
        return Interval(float(value), float(value))
    low = -_INF if parameter.low is None else parameter.low
    return Interval(low, _INF if parameter.high is None else parameter.high)


class Intervals(Flow[Interval]):
    """The interval of every value of a step, by the id of its node.

    `count` are the values of `t`, and `gradient` those of the gradient at the weights.
    With one `count` the states are those that the spec starts with.
    """

    unknown = ALL
    rounds = 2 * len(_MARKS) + _ROUNDS

    def __init__(self, draft: Draft, count: Interval = STEPS, gradient: Interval = ALL) -> None:
        super().__init__()
        self._count = count
        self._gradient = gradient
        self._weights: set[int] = set()  # the weights, and the point at them
        self._parameters = {h.name: of_parameter(h) for h in draft.hyperparameters}
        if count.point is None:
            self.follow(draft)
        else:
            self.begin(draft)
            self.region(draft.step)

    def either(self, one: Interval, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        return hull(one, other)

    def chosen(self, condition: Interval, yes: Interval, no: Interval) -> Interval:
        """The side that the condition takes, or both."""
        return _where(condition, yes, no)

    def kept(self, old: Interval, new: Interval, round: int) -> Interval:
        """Both, and after some rounds the next mark for a bound that still grows."""
        grown = hull(old, new)
        return grown if round < _ROUNDS else _widened(old, grown)

    def index(self) -> Interval:
        """Rounds are counted from 0."""
        return POSITIVE

    def value(self, node: DraftNode, inputs: Sequence[Interval]) -> Interval:
        """The interval of a node."""
        match OPS[node.op].op_class:
            case "leaf":
                return self._leaf(node)
            case "elementwise":
                return _elementwise(node, inputs)
            case "reduction":
                return _reduction(node, inputs)
            case "oracle":
                return self._oracle(node, inputs)
            case "local":
                return hull(*inputs)
            case "shape" if node.op == "blocks":
                # Where they do not divide, there are zeros.
                return hull(inputs[0], ZERO)
            case "shape":
                return STEPS if node.op == "extent" else inputs[0]
            case "matrix":
                return _matrix(node, inputs)
            case "fill" | "random":
                return _fill(node, inputs)
            case "spectral":
                for region in node.regions:
                    self.region(region, [ALL])
                return ALL
            case "history" | "control" | "opaque":
                return ALL

    def _leaf(self, node: DraftNode) -> Interval:
        match node.op:
            case "const":
                return _number(node["value"])
            case "parameter":
                return self._parameters[str(node["name"])]
            case "input" if node["name"] == "t":
                return self._count
            case "input":
                self._weights.add(node.id)
                return ALL
            case _:
                return ALL

    def _oracle(self, node: DraftNode, inputs: Sequence[Interval]) -> Interval:
        match node.op:
            case "point":
                if node.inputs[0] in self._weights:
                    self._weights.add(node.id)
                return ALL
            case "grad" if node.inputs[0] in self._weights:
                return self._gradient
            case "hvp" | "curvature" | "ggn" | "ggn_curvature":
                return ZERO if inputs[1] == ZERO else ALL
            case "per_example_mean":
                return self.region(node.regions[0], [ALL])[0]
            case "examples":
                return STEPS
            case _:
                return ALL


def _widened(old: Interval, new: Interval) -> Interval:
    low, high = old
    if new.low < low:
        low = max(s for s in _MARKS if s <= new.low)
    if new.high > high:
        high = min(s for s in _MARKS if s >= new.high)
    return Interval(low, high)


def _chosen(condition: Interval) -> int | None:
    """Which side a condition takes: 0 where it holds, 1 where it does not, None for either."""
    match condition.point:
        case 1.0:
            return 0
        case 0.0:
            return 1
        case _:
            return None


def _number(value: Scalar) -> Interval:
    if isinstance(value, str):
        return ALL
    return Interval(float(value), float(value))


# ---- ops


def _fill(node: DraftNode, inputs: Sequence[Interval]) -> Interval:
    match node.op:
        case "zeros":
            return ZERO
        case "ones":
            return ONE
        case "full":
            return inputs[1]
        case "rademacher":
            return Interval(-1.0, 1.0)
        case "uniform":
            return EITHER
        case "normal":
            return ALL
        case _:
            return inputs[0]


def _matrix(node: DraftNode, inputs: Sequence[Interval]) -> Interval:
    match node.op:
        case "filled":
            return _number(node["value"])
        case "eye":
            return EITHER
        case "arange" | "argsort":
            return POSITIVE
        case "matmul" | "matvec":
            terms = _times(*inputs)
            return Interval(_many(terms.low), _many(terms.high))
        case "trace":
            return Interval(_many(inputs[0].low), _many(inputs[0].high))
        case "triu" | "tril" | "diagonal_matrix":
            return hull(inputs[0], ZERO)
        case "transpose" | "diagonal" | "take" | "onto_matrix" | "onto_vector":
            return inputs[0]
        case "orthonormal" | "polar" | "eigenbasis":
            # Each column has at most the length 1.
            return reduce(hull, inputs[1:], Interval(-1.0, 1.0))
        case _:
            return ALL


def _reduction(node: DraftNode, inputs: Sequence[Interval]) -> Interval:
    x = inputs[0]
    match node.op:
        case "mean" | "largest" | "smallest" | "all" | "any":
            return x
        case "dot":
            same = node.inputs[0] == node.inputs[1]
            products = POSITIVE if same else _times(*inputs)
            return Interval(_many(products.low), _many(products.high))
        case "norm":
            return Interval(0.0, _many(max(abs(x.low), abs(x.high))))
        case _:
            return Interval(_many(min(x.low, 0.0)), _many(max(x.high, 0.0)))


def _many(bound: float) -> float:
    """A bound of a sum of any number of terms, from that of one."""
    return math.copysign(_INF, bound) if bound else 0.0


def _elementwise(node: DraftNode, inputs: Sequence[Interval]) -> Interval:
    exact = OPS[node.op].scalar
    if exact is not None and all(x.point is not None for x in inputs):
        value = apply(exact, *(x.low for x in inputs))
        if value is not None and not isinstance(value, str):
            return Interval(float(value), float(value))
    if node.op in ("mul", "sub") and node.inputs[0] == node.inputs[1]:
        return _square(inputs[0]) if node.op == "mul" else ZERO
    rule = _RULES.get(node.op)
    if rule is not None:
        return rule(*inputs)
    rising = _RISING.get(node.op)
    return _rising(rising, inputs[0]) if rising else ALL


def _product(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y


def _times(x: Interval, y: Interval) -> Interval:
    corners = [_product(a, b) for a in x for b in y]
    return Interval(min(corners), max(corners))


def _plus(x: Interval, y: Interval) -> Interval:
    # inf - inf would be NaN: such bounds are on no side of anything.
    low, high = x.low + y.low, x.high + y.high
    return Interval(-_INF if math.isnan(low) else low, _INF if math.isnan(high) else high)


def _minus(x: Interval) -> Interval:
    return Interval(-x.high, -x.low)


def _over(x: Interval, y: Interval) -> Interval:
    if y.low < 0 < y.high or y == ZERO:
        return ALL
    if x.low == _INF and y.low >= 0:
        return x
    if y.low == 0:
        inverse = Interval(1 / y.high, _INF)
    elif y.high == 0:
        inverse = Interval(-_INF, 1 / y.low)
    else:
        inverse = Interval(1 / y.high, 1 / y.low)
    return _times(x, inverse)


def _square(x: Interval) -> Interval:
    size = _size(x)
    return Interval(_product(size.low, size.low), _product(size.high, size.high))


def _size(x: Interval) -> Interval:
    if x.low >= 0:
        return x
    return _minus(x) if x.high <= 0 else Interval(0.0, max(-x.low, x.high))


def _power(x: Interval, y: Interval) -> Interval:
    if y.point == 2:
        return _square(x)
    even = y.point is not None and y.point % 2 == 0
    if x.low < 0:
        return POSITIVE if even else ALL
    corners = [_pow(a, b) for a in x for b in y]
    return Interval(min(corners), max(corners))


def _pow(base: float, exponent: float) -> float:
    """`base^exponent` of a base that is not negative, infinities and overflow included."""
    if base == 0 and exponent < 0:
        return _INF
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return _INF


def _below(x: Interval, y: Interval) -> Interval:
    if x.high < y.low:
        return ONE
    return ZERO if x.low >= y.high else EITHER


def _up_to(x: Interval, y: Interval) -> Interval:
    if x.high <= y.low:
        return ONE
    return ZERO if x.low > y.high else EITHER


def _equal(x: Interval, y: Interval) -> Interval:
    return ZERO if x.high < y.low or y.high < x.low else EITHER


def _not(x: Interval) -> Interval:
    return Interval(1 - x.high, 1 - x.low)


def _least(x: Interval, y: Interval) -> Interval:
    return Interval(min(x.low, y.low), min(x.high, y.high))


def _greatest(x: Interval, y: Interval) -> Interval:
    return Interval(max(x.low, y.low), max(x.high, y.high))


def _where(condition: Interval, yes: Interval, no: Interval) -> Interval:
    chosen = _chosen(condition)
    return hull(yes, no) if chosen is None else (yes, no)[chosen]


def _modulo(x: Interval, y: Interval) -> Interval:
    return Interval(0.0, y.high) if y.low > 0 else ALL


def _rising(function: Callable[[float], float], x: Interval) -> Interval:
    """The interval of a function that never falls; where it is undefined it is at its limit."""
    return Interval(function(x.low), function(x.high))


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return _INF


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -_INF


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: float(function(x)) if math.isfinite(x) else x


_WAVE = Interval(-1.0, 1.0)

_RULES: Mapping[str, Callable[..., Interval]] = {
    "add": _plus,
    "sub": lambda x, y: _plus(x, _minus(y)),
    "mul": _times,
    "div": _over,
    "mod": _modulo,
    "pow": _power,
    "neg": _minus,
    "lt": _below,
    "le": _up_to,
    "gt": lambda x, y: _below(y, x),
    "ge": lambda x, y: _up_to(y, x),
    "eq": _equal,
    "ne": lambda x, y: _not(_equal(x, y)),
    "min": _least,
    "max": _greatest,
    "clamp": lambda x, low, high: _least(_greatest(x, low), high),
    "abs": _size,
    "float": lambda x: x,
    "square": _square,
    "sin": lambda _: _WAVE,
    "cos": lambda _: _WAVE,
    "isfinite": lambda _: EITHER,
    "and": _least,
    "or": _greatest,
    "not": _not,
    "where": _where,
}

_RISING: Mapping[str, Callable[[float], float]] = {
    "sign": lambda x: float((x > 0) - (x < 0)),
    "sqrt": lambda x: math.sqrt(max(x, 0.0)),
    "exp": _exp,
    "expm1": lambda x: _exp(x) - 1,
    "log": _log,
    "log1p": lambda x: _log(1 + x),
    "tanh": math.tanh,
    "arctan": math.atan,
    "round": _whole(round),
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
}
