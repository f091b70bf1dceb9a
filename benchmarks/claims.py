"""What optimizers of the library say they equal, as transformations of optax."""

import math
import operator
from collections.abc import Mapping
from typing import Any

import optax

from optc.compiler import library
from optc.grammar import syntax

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
"""The arithmetic of claims."""


def claiming() -> dict[str, syntax.OptimizerDecl]:
    """The optimizers of the library that claim to equal optax, by name."""
    found: dict[str, syntax.OptimizerDecl] = {}
    for name in library.names("optimizer"):
        for item in library.file("optimizer", name).items:
            if isinstance(item, syntax.OptimizerDecl) and item.equals is not None:
                found[name] = item
    return found


def defaults(optimizer: syntax.OptimizerDecl) -> dict[str, Any]:
    """The hyperparameters of an optimizer at their defaults, by name."""
    found: dict[str, Any] = {}
    for parameter in optimizer.params:
        found[parameter.name.id] = _value(parameter.default, {"inf": math.inf, **found})
    return found


def twin(
    optimizer: syntax.OptimizerDecl, hyperparameters: Mapping[str, Any]
) -> optax.GradientTransformation:
    """The transformation that an optimizer claims to equal."""
    names = {"inf": math.inf, "optax": optax, "tuple": lambda *values: values, **hyperparameters}
    made: optax.GradientTransformation = _value(optimizer.equals, names)
    return made


def _value(expression: syntax.Expr | None, names: Mapping[str, Any]) -> Any:
    """What an expression of a claim stands for in Python."""
    match expression:
        case syntax.Number() | syntax.Bool() | syntax.String():
            return expression.value
        case syntax.Name():
            return names[expression.id]
        case syntax.Unary(op="-"):
            return -_value(expression.operand, names)
        case syntax.Binary():
            left, right = _value(expression.left, names), _value(expression.right, names)
            return OPERATORS[expression.op](left, right)
        case syntax.Attribute():
            return getattr(_value(expression.value, names), expression.name.id)
        case syntax.Call():
            given = [(a.name, _value(a.value, names)) for a in expression.arguments]
            named = {name.id: value for name, value in given if name is not None}
            placed = [value for name, value in given if name is None]
            return _value(expression.function, names)(*placed, **named)
        case _:
            raise NotImplementedError(f"a claim with {expression}")
