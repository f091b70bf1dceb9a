"""Pieces of syntax as text on one line: expressions, parameters and what belongs to them."""

from collections.abc import Iterator
from typing import assert_never

from . import syntax as s
from .literals import quote

# How tightly each form binds, loosest first. An operand stands in brackets where it binds less
# tightly than its place asks for. `_NAMED` is what may be called or have attributes.
_LAMBDA, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGN, _POWER, _LITERAL, _NAMED = range(11)

_OPERATORS: dict[str, tuple[int, int, int]] = {
    "or": (_OR, _OR, _AND),
    "and": (_AND, _AND, _NOT),
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "matches"), (_COMPARE, _SUM, _SUM)),
    **dict.fromkeys(("+", "-"), (_SUM, _SUM, _PRODUCT)),
    **dict.fromkeys(("*", "/", "%", "@"), (_PRODUCT, _PRODUCT, _SIGN)),
    "^": (_POWER, _LITERAL, _SIGN),
}
"""For each operator: how tightly it binds, and what it asks of its left and right operand."""


def inline(expr: s.Expr, hole: s.Call | None = None) -> str:
    """An expression on one line, with the fewest brackets that keep its meaning.

    A call that is `hole`, by identity, becomes one NUL, so that it can be laid out apart.
    """
    return _operand(expr, _LAMBDA, hole)


def inline_param(param: s.Param) -> str:
    """A parameter on one line: `total: int = 10_000 in [1, inf)`."""
    text = param.name.id
    if param.type is not None:
        text += f": {param.type.id}"
    if param.default is not None:
        text += f" = {inline(param.default)}"
    if param.range is not None:
        low = "(" if param.range.low_open else "["
        high = ")" if param.range.high_open else "]"
        text += f" in {low}{inline(param.range.low)}, {inline(param.range.high)}{high}"
    return text


def inline_params(params: tuple[s.Param, ...]) -> str:
    """A list of parameters on one line, in its brackets."""
    return f"({', '.join(map(inline_param, params))})"


def outer_calls(expr: s.Expr) -> Iterator[s.Call]:
    """The calls in an expression that are in no other call, from left to right."""
    match expr:
        case s.Call():
            yield expr
        case s.Attribute(value=part) | s.Unary(operand=part):
            yield from outer_calls(part)
        case s.IsShape(value=part) | s.Lambda(body=part):
            yield from outer_calls(part)
        case s.Binary():
            yield from outer_calls(expr.left)
            yield from outer_calls(expr.right)
        case s.Number() | s.String() | s.Bool() | s.Name():
            pass
        case _:
            assert_never(expr)


def _operand(expr: s.Expr, place: int, hole: s.Call | None) -> str:
    text, binding = ("\0", _NAMED) if expr is hole else _bound(expr, hole)
    return f"({text})" if binding < place else text


def _bound(expr: s.Expr, hole: s.Call | None) -> tuple[str, int]:
    """An expression on one line, and how tightly it binds."""
    match expr:
        case s.Number():
            return expr.text, _LITERAL
        case s.String():
            return quote(expr.value), _LITERAL
        case s.Bool():
            return "true" if expr.value else "false", _LITERAL
        case s.Name():
            return expr.id, _NAMED
        case s.Attribute():
            return f"{_operand(expr.value, _NAMED, hole)}.{expr.name.id}", _NAMED
        case s.Call():
            return f"{inline(expr.function)}({_arguments(expr, hole)})", _NAMED
        case s.Unary(op="-"):
            return f"-{_operand(expr.operand, _SIGN, hole)}", _SIGN
        case s.Unary():
            return f"not {_operand(expr.operand, _NOT, hole)}", _NOT
        case s.Binary():
            return _binary(expr, hole)
        case s.Lambda():
            return f"{expr.parameter.id} => {_operand(expr.body, _OR, hole)}", _LAMBDA
        case s.IsShape():
            return f"{_operand(expr.value, _SUM, hole)} is {_shape(expr)}", _COMPARE
        case _:
            assert_never(expr)


def _binary(expr: s.Binary, hole: s.Call | None) -> tuple[str, int]:
    binding, left_place, right_place = _OPERATORS[expr.op]
    left = _operand(expr.left, left_place, hole)
    right = _operand(expr.right, right_place, hole)
    gap = "" if expr.op == "^" else " "
    return f"{left}{gap}{expr.op}{gap}{right}", binding


def _arguments(call: s.Call, hole: s.Call | None) -> str:
    return ", ".join(
        argument_prefix(argument) + inline(argument.value, hole) for argument in call.arguments
    )


def argument_prefix(argument: s.Argument) -> str:
    """What stands before the value of an argument: its name and `=`, or nothing."""
    return "" if argument.name is None else f"{argument.name.id} = "


def _shape(expr: s.IsShape) -> str:
    names = [name.id for name in expr.dimensions]
    return f"[{', '.join(['..', *names] if expr.leading else names)}]"
