"""Hyperparameters as a spec declares them."""

from ...grammar.literals import quote
from ..records import Hyperparameter, Scalar
from .terms import term_text


def declaration(each: Hyperparameter) -> str:
    """All of a declaration but its name: `= 0.9 in [0, 1)`, `int = 3`."""
    kind = each.kind if each.static else ""
    value, bounds = default(each), limits(each)
    parts = (kind, f"= {value}" if value else "", f"in {bounds}" if bounds else "")
    return " ".join(part for part in parts if part)


def default(each: Hyperparameter) -> str:
    """Its default as a spec has it, empty without one."""
    if each.derived is not None:
        return term_text(each.derived, lambda name: name)
    return "" if each.default is None else _text(each.default)


def limits(each: Hyperparameter) -> str:
    """Its range as a spec has it, empty without one."""
    if each.low is None and each.high is None:
        return ""
    low = "(-inf" if each.low is None else f"{'(' if each.low_open else '['}{_text(each.low)}"
    high = "inf)" if each.high is None else f"{_text(each.high)}{')' if each.high_open else ']'}"
    return f"{low}, {high}"


def _text(value: Scalar) -> str:
    """A literal as a spec has it: `1e-8`, `0.9`, `10_000`, `true`."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quote(value)
        case float() if value.is_integer() and abs(value) < 1e6:
            return _text(int(value))
        case int():
            return f"{value:_}" if abs(value) >= 10_000 else str(value)
    digits, _, exponent = f"{value:e}".partition("e")
    powers = f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    plain = repr(value)
    return powers if len(powers) < len(plain) and float(powers) == value else plain
