"""Transformations of optax from text: what a claim says, and what a person asks for.

The text is an expression of the language, and only what is listed here is ever called. Nothing is
evaluated as Python.
"""

import inspect
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optax
import optax.contrib

from ..compiler import library
from ..compiler.constants import NAMED
from ..compiler.records import Scalar
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

_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
}

_CONSTANTS = {**NAMED, "inf": math.inf, "none": None}


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
        case syntax.Name() if expr.id not in _CONSTANTS:
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
            if expr.id in _CONSTANTS:
                return _CONSTANTS[expr.id]
            raise TwinError(f"`{expr.id}` is no number and no hyperparameter")
        case syntax.Unary(op="-"):
            return -value(expr.operand, known)
        case syntax.Binary() if expr.op in _ARITHMETIC:
            return _ARITHMETIC[expr.op](value(expr.left, known), value(expr.right, known))
        case syntax.Call():
            function = called(expr)
            placed = [value(a.value, known) for a in expr.arguments if a.name is None]
            given = [(a.name.id, value(a.value, known)) for a in expr.arguments if a.name]
            return function(*placed, **dict(given))
        case _:
            raise TwinError(f"`{expr.span.text}` is no part of a transformation")


def claimant(expr: syntax.Expr, known: Mapping[str, Any]) -> tuple[str, dict[str, Scalar]] | None:
    """The optimizer of the library that claims to equal a call, and its values there.

    None where there is none, or where the call says something that no parameter of it does.
    """
    if not isinstance(expr, syntax.Call):
        return None
    function = called(expr)
    last = expr.function.name if isinstance(expr.function, syntax.Attribute) else expr.function
    # Reading two hundred files takes a moment, and most do not speak of the function.
    likely = (n for n in library.names("optimizer") if last.id in library.written("optimizer", n))
    for name in likely:
        file = library.file("optimizer", name)
        for item in file.items if file else ():
            if isinstance(item, syntax.OptimizerDecl) and item.name.id == name and item.equals:
                if called(item.equals) is not function:
                    continue
                found = _inverted(item.equals, expr, known)
                if found is not None:
                    return name, found
    return None


def _inverted(
    claim: syntax.Call, call: syntax.Call, known: Mapping[str, Any]
) -> dict[str, Scalar] | None:
    """The values of a claim's parameters at which it is a call of the same function."""
    found: dict[str, Scalar] = {}
    said, asked = _arguments(claim), _arguments(call)
    for name, default in _defaults(called(call)).items():
        given = value(asked[name], known) if name in asked else default
        match said.get(name):
            case None if given != default:
                return None
            case None:
                continue
            case syntax.Name(id=parameter) if parameter not in _CONSTANTS:
                if not isinstance(given, bool | int | float | str):
                    return None
                found[parameter] = given
            case written if value(written, {}) != given:
                return None
    return found


def _arguments(call: syntax.Call) -> dict[str, syntax.Expr]:
    """The arguments of a call by the names that its function has for them."""
    placed = [a.value for a in call.arguments if a.name is None]
    found = dict(zip(_defaults(called(call)), placed, strict=False))
    return found | {a.name.id: a.value for a in call.arguments if a.name}


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters}


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
