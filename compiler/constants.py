"""Values of expressions that are known without running anything."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..grammar import syntax
from .ops import OPS
from .records import Scalar, Term

OPERATORS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "%": "mod",
    "^": "pow",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "==": "eq",
    "!=": "ne",
    "and": "and",
    "or": "or",
}
"""The op that each binary operator of the language stands for."""

NAMED = {"pi": 3.141592653589793, "inf": float("inf")}
"""Constants with a name."""

DECIDED = {"and": False, "or": True}
"""What settles a condition that two are joined to: the second is then not asked, as in Python."""

_OF_TEXTS = (OPS["eq"].scalar, OPS["ne"].scalar)

LIMIT = 1e300
"""Larger magnitudes are not folded: they would overflow later, where nobody sees it."""


def apply(meaning: Callable[..., Any], *operands: Scalar) -> Scalar | None:
    """The result of an op on plain numbers, or None where there is no finite real one."""
    if any(isinstance(x, str) for x in operands) and meaning not in _OF_TEXTS:
        return None
    if meaning is OPS["pow"].scalar and not _small_power(*operands):
        return None
    try:
        result = meaning(*operands)
    except (ArithmeticError, ValueError, TypeError):
        return None
    if isinstance(result, bool):
        return result
    return result if isinstance(result, int | float) and abs(result) < LIMIT else None


def _small_power(base: Any, exponent: Any) -> bool:
    # Exact integer powers can fill the memory: 9 ** 9 ** 9.
    return bool(abs(exponent) <= 1024 and abs(base) <= 1e100)


def interpolated(points: Sequence[tuple[float, float]], x: float) -> float:
    """The value at x of the straight lines between the points, and beside them that of an end."""
    (x0, y0), *others = points
    if x <= x0:
        return y0
    for x1, y1 in others:
        if x < x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        x0, y0 = x1, y1
    return y0


def evaluate(expr: syntax.Expr, names: Mapping[str, Scalar]) -> Scalar | None:
    """The value of `expr` where it is made of literals, `names`, and ops on plain numbers."""
    match expr:
        case syntax.Number() | syntax.Bool() | syntax.String():
            return expr.value
        case syntax.Name():
            return names.get(expr.id, NAMED.get(expr.id))
        case syntax.Unary(op="-", operand=syntax.Name(id="inf")) if "inf" not in names:
            return -NAMED["inf"]
        case syntax.Unary():
            return _call("neg" if expr.op == "-" else "not", (expr.operand,), names)
        case syntax.Binary() if expr.op in OPERATORS:
            return _call(OPERATORS[expr.op], (expr.left, expr.right), names)
        case syntax.Call(function=syntax.Name(id=function)):
            return _call(function, tuple(a.value for a in expr.arguments), names)
        case _:
            return None


def value_of(term: Term, bound: Mapping[str, Scalar]) -> Scalar:
    """The value of a term over hyperparameters, where they have these values."""
    if term.op == "parameter":
        return bound[str(term.arguments[0])]
    if term.op == "literal":
        (literal,) = term.arguments
        assert not isinstance(literal, Term)
        return literal
    if term.op in DECIDED:
        left, right = term.terms
        decided = value_of(left, bound)
        return decided if bool(decided) is DECIDED[term.op] else value_of(right, bound)
    meaning = OPS[term.op].scalar
    assert meaning is not None
    value: Scalar = meaning(*(value_of(each, bound) for each in term.terms))
    return value


def known_value(term: Term, bound: Mapping[str, Scalar]) -> Scalar | None:
    """The same, or None where a hyperparameter has no value, or the term has none, as a shape."""
    if term.op == "literal":
        (literal,) = term.arguments
        assert not isinstance(literal, Term)
        return literal
    if term.op == "parameter":
        return bound.get(str(term.arguments[0]))
    operands = [known_value(inner, bound) for inner in term.terms]
    known = [x for x in operands if x is not None]
    meaning = OPS[term.op].scalar if term.op in OPS else None
    return apply(meaning, *known) if meaning and len(known) == len(operands) else None


def zero_division(term: Term, bound: Mapping[str, Scalar]) -> Term | None:
    """The part of a term that divides by zero where hyperparameters have these values, if one."""
    settled = term.op in DECIDED and known_value(term.terms[0], bound) is DECIDED[term.op]
    for inner in term.terms[: 1 if settled else None]:
        if (found := zero_division(inner, bound)) is not None:
            return found
    divides = term.op in ("div", "mod") and known_value(term.terms[1], bound) == 0
    return term if divides else None


def _call(
    name: str, arguments: tuple[syntax.Expr, ...], names: Mapping[str, Scalar]
) -> Scalar | None:
    op = OPS.get(name)
    values = [evaluate(a, names) for a in arguments]
    if op is None or op.scalar is None or any(v is None for v in values):
        return None
    return apply(op.scalar, *(v for v in values if v is not None))
