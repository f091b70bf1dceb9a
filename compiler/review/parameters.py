"""Hyperparameters: which came and went, and what their defaults, ranges and types are now."""

from collections.abc import Iterator, Mapping, Sequence

from ...grammar.literals import quote
from ..printing.terms import term_text
from ..records import Hyperparameter, Scalar
from .records import Change, Fact, How


def parameters(
    old: Sequence[Hyperparameter], new: Sequence[Hyperparameter], renamed: Mapping[str, str]
) -> tuple[Change, ...]:
    """What changed; `renamed` are the new names of parameters that have others now."""
    return tuple(_parameters(old, new, renamed))


def parameters_of(how: How, all: Sequence[Hyperparameter]) -> tuple[Change, ...]:
    """The hyperparameters of an optimizer that is new or gone as a whole."""
    return tuple(Change(how, each.name, _declared(each)) for each in all)


def _parameters(
    old: Sequence[Hyperparameter], new: Sequence[Hyperparameter], renamed: Mapping[str, str]
) -> Iterator[Change]:
    before = {renamed.get(each.name, each.name): each for each in old}
    for after in new:
        was = before.pop(after.name, None)
        if was is None:
            yield Change("added", after.name, _declared(after))
        elif facts := tuple(_facts(was, after)):
            yield Change("changed", after.name, facts=facts)
    for was in before.values():
        yield Change("removed", was.name, _declared(was))


def _facts(was: Hyperparameter, now: Hyperparameter) -> Iterator[Fact]:
    pairs = (
        ("name", was.name, now.name),
        ("type", was.kind, now.kind),
        ("default", _default(was), _default(now)),
        ("range", _range(was), _range(now)),
    )
    for what, before, after in pairs:
        if before != after:
            yield Fact(what, before, after)


def _declared(each: Hyperparameter) -> str:
    kind = each.kind if each.static else ""
    default = f"= {_default(each)}" if _default(each) else ""
    limits = f"in {_range(each)}" if _range(each) else ""
    return " ".join(part for part in (kind, default, limits) if part)


def _default(each: Hyperparameter) -> str:
    if each.derived is not None:
        return term_text(each.derived, lambda name: name)
    return "" if each.default is None else _text(each.default)


def _range(each: Hyperparameter) -> str:
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
