"""Whether the assertions of an optimizer hold."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..ops import OPS
from ..records import Assertion, Scalar, Term


@dataclass(frozen=True, slots=True)
class Verdict:
    """An assertion, whether it holds, and the measured numbers that it speaks of.

    `sides` are the two sides of its comparison, where it is one comparison.
    """

    assertion: Assertion
    holds: bool
    quantities: Mapping[str, float]
    sides: tuple[float, float] | None


def judge(assertion: Assertion, quantities: Mapping[str, float]) -> Verdict:
    """Whether an assertion holds. What has no value (1 / 0) compares as NaN does."""
    condition = assertion.condition
    used = {name: quantities[name] for name in _names(condition)}
    sides = None
    if condition.op in ("lt", "le", "gt", "ge", "eq", "ne"):
        left, right = (float(_value(term, quantities)) for term in condition.terms)
        sides = (left, right)
    return Verdict(assertion, bool(_value(condition, quantities)), used, sides)


def _value(term: Term, quantities: Mapping[str, float]) -> Scalar:
    match term.op:
        case "literal":
            (literal,) = term.arguments
            assert isinstance(literal, int | float)
            return literal if isinstance(literal, bool) else _float(lambda: float(literal))
        case "quantity":
            (name,) = term.arguments
            # Floats, since whole numbers to the power of whole numbers can fill the memory.
            return float(quantities[str(name)])
    values = [_value(inner, quantities) for inner in term.terms]
    meaning = OPS[term.op].scalar
    assert meaning is not None
    if term.op in ("add", "sub", "mul", "div", "pow", "neg"):
        return _float(lambda: meaning(*values))
    return bool(meaning(*values))


def _float(make: Callable[[], float]) -> float:
    """A number, infinite where it is too large for a float and NaN where there is none."""
    try:
        value = make()
        return value if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.inf
    except ArithmeticError:
        return math.nan


def _names(term: Term) -> list[str]:
    """The quantities that a term speaks of, once."""
    if term.op == "quantity":
        return [str(term.arguments[0])]
    return list(dict.fromkeys(name for inner in term.terms for name in _names(inner)))
