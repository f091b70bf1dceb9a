"""What is a polynomial of one matrix's Gram matrix, and with which coefficients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, zip_longest
from typing import Literal, TypeAlias

from ..constants import apply, interpolated
from ..graph import Node
from ..ops import OPS, knots
from ..types import INT, SCALAR, WHOLE

MOST_DEGREE = 16
"""Polynomials of a higher degree are not followed."""

_LEAVES = ("parameter", "input", "state")
"""Values that are the same in a loop and outside of it."""

_DEEPEST = 8
"""How many operations may make a multiple of the identity."""


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar that is no literal: the value with this id."""

    id: int


Number: TypeAlias = float | Value
Coefficients: TypeAlias = tuple[Number, ...]
"""Those of 1, x, x^2, ..."""

Kind = Literal["odd", "transposed", "left", "right", "identity"]
"""Of a matrix y: p(yy')y, its transpose, p(yy') and p(y'y); a constant p is of either."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A matrix that is made of y by a polynomial p."""

    kind: Kind
    coefficients: Coefficients

    @property
    def degree(self) -> int:
        """The degree of p."""
        return len(self.coefficients) - 1


_PRODUCTS: Mapping[tuple[Kind, Kind], tuple[Kind, int]] = {
    ("left", "left"): ("left", 0),
    ("right", "right"): ("right", 0),
    ("left", "odd"): ("odd", 0),
    ("odd", "right"): ("odd", 0),
    ("right", "transposed"): ("transposed", 0),
    ("transposed", "left"): ("transposed", 0),
    ("odd", "transposed"): ("left", 1),
    ("transposed", "odd"): ("right", 1),
}
"""What a product of two is, and how many factors x come to those of the polynomials."""

_TRANSPOSES: Mapping[Kind, Kind] = {"odd": "transposed", "transposed": "odd"}


class Numbers:
    """Arithmetic with coefficients: at once on literals, on others by nodes, which are `made`."""

    def __init__(self, ids: "count[int]", stage: int) -> None:
        self.made: list[Node] = []
        self._ids = ids
        self._stage = stage

    def add(self, a: Number, b: Number) -> Number:
        """The sum."""
        return b if a == 0 else a if b == 0 else self._apply("add", a, b)

    def mul(self, a: Number, b: Number) -> Number:
        """The product; 0 times anything is no coefficient."""
        if a == 0 or b == 0:
            return 0.0
        return b if a == 1 else a if b == 1 else self._apply("mul", a, b)

    def div(self, a: Number, b: Number) -> Number:
        """The quotient."""
        return a if a == 0 or b == 1 else self._apply("div", a, b)

    def copy(self, node: Node, given: Sequence[Number]) -> Number | None:
        """The value of a scalar node on other inputs; None for what depends on where it is."""
        if (known := literal(node)) is not None:
            return known
        if node.op in _LEAVES:
            return self._made(node)
        if OPS[node.op].op_class != "elementwise":
            return None
        if node.op == "where" and isinstance(given[0], float):
            return given[1] if given[0] else given[2]
        if node.op == "interpolate" and isinstance(given[0], float):
            return interpolated(knots(node), given[0])
        literals = [x for x in given if isinstance(x, float)]
        if len(literals) == len(given):
            meaning = OPS[node.op].scalar
            result = None if meaning is None else apply(meaning, *literals)
            if isinstance(result, int | float):
                return float(result)
        if "bool" in OPS[node.op].takes and literals:
            return None
        inputs = tuple(self.id(x) for x in given)
        return self._made(node.model_copy(update={"inputs": inputs, "name": None}))

    def id(self, number: Number) -> int:
        """The value that a number is."""
        return number.id if isinstance(number, Value) else self._constant(number)

    def whole(self, number: int) -> int:
        """The value of a whole number."""
        return self._constant(number)

    def _apply(self, op: str, a: Number, b: Number) -> Number:
        found = self.copy(Node(id=0, op=op, inputs=(), type=SCALAR, stage=self._stage), (a, b))
        assert found is not None
        return found

    def _constant(self, value: float) -> int:
        type = replace(INT if isinstance(value, int) else SCALAR, static=True)
        node = Node(id=0, op="const", inputs=(), type=type, attributes=(("value", value),))
        return self._made(node).id

    def _made(self, node: Node) -> Value:
        made = node.model_copy(update={"id": next(self._ids), "stage": self._stage})
        self.made.append(made)
        return Value(made.id)


def literal(node: Node) -> float | None:
    """The number that a node is."""
    value = node["value"] if node.op == "const" else None
    return None if value is None or isinstance(value, str) else float(value)


def number(node: Node) -> Number | None:
    """A scalar as a coefficient; None for what is none."""
    if not node.type.is_scalar or node.type.dtype == "bool":
        return None
    known = literal(node)
    return Value(node.id) if known is None else known


class Polynomials:
    """The polynomials of one matrix y among the values of a region, as they are met in order."""

    def __init__(self, y: Node, nodes: Mapping[int, Node], numbers: Numbers) -> None:
        self.known: dict[int, Polynomial] = {y.id: Polynomial("odd", (1.0,))}
        self._nodes = nodes
        self._numbers = numbers
        rows, columns = y.type.dims or WHOLE
        self._squares = ((rows, rows), (columns, columns))

    def meet(self, node: Node) -> None:
        """Take in a node, if it is made of polynomials of y."""
        if not node.type.is_field or not any(i in self.known for i in node.inputs):
            return
        found = self._found(node)
        if found is not None and found.degree <= MOST_DEGREE:
            self.known[node.id] = found

    def _found(self, node: Node) -> Polynomial | None:
        match node.op:
            case "neg":
                return self._scaled(self.known[node.inputs[0]], -1.0)
            case "transpose":
                of = self.known[node.inputs[0]]
                return replace(of, kind=_TRANSPOSES.get(of.kind, of.kind))
            case "mul" | "div" | "add" | "sub" | "matmul":
                x, y = (self._operand(i) for i in node.inputs)
            case _:
                return None
        match node.op, x, y:
            case "mul", Polynomial(), float() | Value():
                return self._scaled(x, y)
            case "mul", float() | Value(), Polynomial():
                return self._scaled(y, x)
            case "div", Polynomial(), float() | Value():
                divided = (self._numbers.div(c, y) for c in x.coefficients)
                return replace(x, coefficients=tuple(divided))
            case "add", Polynomial(), Polynomial():
                return self._sum(x, y)
            case "sub", Polynomial(), Polynomial():
                return self._sum(x, self._scaled(y, -1.0))
            case "matmul", Polynomial(), Polynomial():
                return self._product(x, y)
            case _:
                return None

    def _operand(self, id: int) -> Polynomial | Number | None:
        if id in self.known:
            return self.known[id]
        node = self._nodes[id]
        found = number(node)
        return self._identity(node, _DEEPEST) if found is None else found

    def _identity(self, node: Node, deepest: int) -> Polynomial | None:
        """A multiple of the identity."""
        if node.op == "eye" and node.type.dims in self._squares:
            return Polynomial("identity", (1.0,))
        if node.op != "mul" or not deepest:
            return None
        for one, other in (node.inputs, node.inputs[::-1]):
            factor = number(self._nodes[one])
            if factor is not None and not self._nodes[other].type.is_scalar:
                found = self._identity(self._nodes[other], deepest - 1)
                return None if found is None else self._scaled(found, factor)
        return None

    def _scaled(self, x: Polynomial, factor: Number) -> Polynomial:
        coefficients = tuple(self._numbers.mul(factor, c) for c in x.coefficients)
        return replace(x, coefficients=coefficients)

    def _sum(self, x: Polynomial, y: Polynomial) -> Polynomial | None:
        kinds = {x.kind, y.kind}
        if len(kinds) > 1:
            kinds -= {"identity"}
        if len(kinds) > 1 or ("identity" in (x.kind, y.kind) and kinds & {"odd", "transposed"}):
            return None
        pairs = zip_longest(x.coefficients, y.coefficients, fillvalue=0.0)
        return Polynomial(kinds.pop(), tuple(self._numbers.add(a, b) for a, b in pairs))

    def _product(self, x: Polynomial, y: Polynomial) -> Polynomial | None:
        if x.kind == "identity":
            return self._scaled(y, x.coefficients[0])
        if y.kind == "identity":
            return self._scaled(x, y.coefficients[0])
        if (x.kind, y.kind) not in _PRODUCTS or x.degree + y.degree >= MOST_DEGREE:
            return None
        kind, more = _PRODUCTS[x.kind, y.kind]
        total: list[Number] = [0.0] * (more + x.degree + y.degree + 1)
        for i, a in enumerate(x.coefficients):
            for j, b in enumerate(y.coefficients):
                place = more + i + j
                total[place] = self._numbers.add(total[place], self._numbers.mul(a, b))
        return Polynomial(kind, tuple(total))
