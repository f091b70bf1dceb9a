"""Transformations of optax from text: what a claim says, and what a person asks for.

The text is an expression of the language, and only what is listed here is ever called. Nothing is
evaluated as Python.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optax
import optax.contrib

from ..compiler.constants import NAMED
from ..compiler.transformations import TABLE
from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, OptcError, did_you_mean
from ..grammar.parse import parse
from ..grammar.source import Source

_MODULES = {"optax": optax, "optax.contrib": optax.contrib}

_OTHERS = (
    *("optax.chain", "optax.contrib.mechanize", "optax.contrib.schedule_free"),
    *("optax.nadam", "optax.nadamw", "optax.scale_by_factored_rms"),
    *("optax.contrib.dog", "optax.contrib.dowg"),
)
"""What is made of other transformations, and what the table of `extern` leaves out."""

_SCHEDULES = (
    *("constant_schedule", "cosine_decay_schedule", "cosine_onecycle_schedule"),
    *("exponential_decay", "linear_onecycle_schedule", "linear_schedule", "polynomial_schedule"),
    *("warmup_constant_schedule", "warmup_cosine_decay_schedule"),
    "warmup_exponential_decay_schedule",
)

ALLOWED: Mapping[str, Callable[..., Any]] = {
    path: getattr(_MODULES[path.rpartition(".")[0]], path.rpartition(".")[2])
    for path in (
        *(f"{module}.{name}" for module, table in TABLE.items() for name in table),
        *_OTHERS,
        *(f"optax.{name}" for name in _SCHEDULES),
    )
    if hasattr(_MODULES[path.rpartition(".")[0]], path.rpartition(".")[2])
}
"""Every function that may be called, by its path."""


def _power(x: float, y: float) -> Any:
    """The power; whole numbers of more than some hundred digits are floats, which overflow."""
    if isinstance(x, int) and isinstance(y, int) and 0 <= y * x.bit_length() <= 1024:
        return x**y
    return float(x) ** float(y)


_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": _power,
}

CONSTANTS = {**NAMED, "inf": math.inf, "none": None}
"""The names that have a value everywhere."""


class TwinError(OptcError):
    """A text that names no transformation of optax; the message is one line for a person."""


def expression(text: str) -> syntax.Expr:
    """The expression that a text is. Raises TwinError.

    >>> expression("adam(1e-3)").function.id
    'adam'
    """
    report = Diagnostics()
    start = "schedule twin() ="
    source = Source("optax", f"{start} {text}")
    items = parse(source, report).items
    mistakes = report.sorted()
    if mistakes:
        raise TwinError(f"`{text}` is no expression: {mistakes[0].message}")
    if len(items) != 1 or not isinstance(items[0], syntax.ScheduleDecl) or items[0].params:
        raise TwinError(f"`{text}` is no expression")
    return items[0].value


def names(expr: syntax.Expr) -> Iterator[str]:
    """The names that an expression takes values of, each where it stands."""
    match expr:
        case syntax.Name() if expr.id not in CONSTANTS:
            yield expr.id
        case syntax.Unary():
            yield from names(expr.operand)
        case syntax.Binary():
            yield from names(expr.left)
            yield from names(expr.right)
        case syntax.Call():
            for argument in expr.arguments:
                yield from names(argument.value)


def value(expr: syntax.Expr, known: Mapping[str, Any]) -> Any:
    """What an expression stands for in Python, with these values of its names.

    Functions of optax have their path, with or without the `optax.` before it. Raises TwinError
    for what is not allowed, and what optax raises.
    """
    match expr:
        case syntax.Number() | syntax.Bool() | syntax.String():
            return expr.value
        case syntax.Name():
            if expr.id in known:
                return known[expr.id]
            if expr.id in CONSTANTS:
                return CONSTANTS[expr.id]
            raise TwinError(f"`{expr.id}` is no number and no hyperparameter")
        case syntax.Unary(op="-"):
            return -value(expr.operand, known)
        case syntax.Binary() if expr.op in _ARITHMETIC:
            left, right = value(expr.left, known), value(expr.right, known)
            found = _ARITHMETIC[expr.op](left, right)
            if isinstance(left, str) or isinstance(right, str) or isinstance(found, complex):
                raise TwinError(f"`{expr.span.text}` is no number")
            return found
        case syntax.Call():
            function = called(expr)
            placed = [value(a.value, known) for a in expr.arguments if a.name is None]
            given = [(a.name.id, value(a.value, known)) for a in expr.arguments if a.name]
            return function(*placed, **dict(given))
        case _:
            raise TwinError(f"`{expr.span.text}` is no part of a transformation")


def called(call: syntax.Call) -> Callable[..., Any]:
    """The function that a call names. Raises TwinError for one that is not allowed."""
    path = "".join(call.function.span.text.split())
    if path == "tuple":
        return lambda *parts: parts
    for full in (path, f"optax.{path}"):
        if full in ALLOWED:
            return ALLOWED[full]
    help = did_you_mean(path, [name.removeprefix("optax.") for name in ALLOWED])
    message = f"`{path}` is no transformation or schedule of optax that can be named here"
    raise TwinError(f"{message}; {help}" if help else message)
