"""Parameters: their types, defaults and ranges."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, declare, did_you_mean
from ..grammar.source import Span
from .constants import OPERATORS, evaluate
from .declarations import DUPLICATE_NAME
from .ops import OPS
from .records import Hyperparameter, Scalar, Term

UNKNOWN_TYPE = declare(
    "unknown-type",
    "a parameter type that does not exist",
    """
    Parameters are `float` (the type of those that say none), `int`, `bool` or `str`. Floats can
    change while a program runs; the others are fixed when it is bound. Parameters of rules and
    functions may also be `func`: they take a function.
    """,
)
BAD_DEFAULT = declare(
    "bad-default",
    "a default that is not a value of its parameter",
    """
    A default is a literal or arithmetic over literals and the parameters before it, and it has
    the parameter's type: `total: int = 10_000`, `floor = peak / 10`.
    """,
)
BAD_RANGE = declare(
    "bad-range",
    "a range that holds no number",
    """
    A range is written with the brackets of mathematics: `in [0, 1)` takes 0 and refuses 1. Its
    ends are numbers or `inf`, the lower one first. Only `float` and `int` parameters have one.
    """,
)
OUT_OF_RANGE = declare(
    "out-of-range",
    "a value outside its parameter's range",
    """
    The value is known now and lies outside the range that the parameter declares. Values that
    become known when a program is bound or changed are checked then, with the same range.
    """,
)

ParameterKind = Literal["float", "int", "bool", "str"]
_KINDS: dict[str, ParameterKind] = {"float": "float", "int": "int", "bool": "bool", "str": "str"}
_TYPES: dict[ParameterKind, tuple[type, ...]] = {
    "float": (int, float),
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """An interval; None is no bound."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def admits(self, value: float) -> bool:
        """Whether `value` lies inside."""
        above = self.low is None or value > self.low or (value == self.low and not self.low_open)
        below = (
            self.high is None or value < self.high or (value == self.high and not self.high_open)
        )
        return above and below

    def phrase(self) -> str:
        """What is asked of a value: `must be in [0, 1)`."""
        if self.high is None:
            return f"must be {'above' if self.low_open else 'at least'} {self.low:g}"
        if self.low is None:
            return f"must be {'below' if self.high_open else 'at most'} {self.high:g}"
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"must be in {left}{self.low:g}, {self.high:g}{right}"

    def both(self, other: "Bounds") -> "Bounds":
        """The interval inside both."""
        low, low_open = _tighter(
            (self.low, self.low_open), (other.low, other.low_open), lambda a, b: a > b
        )
        high, high_open = _tighter(
            (self.high, self.high_open), (other.high, other.high_open), lambda a, b: a < b
        )
        return Bounds(low, high, low_open, high_open)


def _tighter(
    one: tuple[float | None, bool],
    two: tuple[float | None, bool],
    better: Callable[[float, float], bool],
) -> tuple[float | None, bool]:
    if one[0] is None:
        return two
    if two[0] is None:
        return one
    if one[0] == two[0]:
        return one[0], one[1] or two[1]
    return one if better(one[0], two[0]) else two


def kind(param: syntax.Param) -> ParameterKind:
    """The type of a parameter; an unknown one (reported elsewhere) counts as float."""
    return _KINDS.get(param.type.id, "float") if param.type else "float"


def takes_function(param: syntax.Param) -> bool:
    """Whether a parameter is declared to take a function: `name: func`."""
    return param.type is not None and param.type.id == "func"


def bounds(param: syntax.Param) -> Bounds:
    """The range of a parameter; ends that are not numbers (reported elsewhere) do not bound."""
    if param.range is None:
        return Bounds()
    low, high = (_end(e) for e in (param.range.low, param.range.high))
    return Bounds(low, high, param.range.low_open, param.range.high_open)


def _end(expr: syntax.Expr) -> float | None:
    value = evaluate(expr, {})
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if abs(value) == float("inf") else float(value)


def check(
    params: Iterable[syntax.Param], report: Diagnostics, functions: bool = False
) -> dict[str, Scalar]:
    """Report what is wrong with declared parameters; the defaults that are known.

    `functions` are taken by some declarations.
    """
    known: dict[str, Scalar] = {}
    seen: dict[str, Span] = {}
    for param in params:
        name = param.name.id
        if name in seen:
            report.add(
                DUPLICATE_NAME.at(
                    param.name.span,
                    f"the parameter `{name}` is declared twice",
                    others=(Label(seen[name], "declared here"),),
                )
            )
        seen[name] = param.name.span
        _check_type(param, report, functions)
        limits = bounds(param) if _check_range(param, report) else Bounds()
        if param.default is not None and takes_function(param):
            if not isinstance(param.default, syntax.Name | syntax.Lambda):
                message = f"the default of `{name}` is not a function"
                report.add(BAD_DEFAULT.at(param.default.span, message))
        elif param.default is not None:
            value = _default(param, known, limits, report)
            known |= {name: value} if value is not None else {}
    return known


def _check_type(param: syntax.Param, report: Diagnostics, functions: bool) -> None:
    if param.type is None or param.type.id in _KINDS:
        return
    if not takes_function(param):
        help = did_you_mean(param.type.id, _KINDS) or "the types are float, int, bool and str"
        report.add(
            UNKNOWN_TYPE.at(param.type.span, f"there is no type `{param.type.id}`", help=help)
        )
    elif not functions:
        message = "only parameters of rules and functions take functions"
        report.add(UNKNOWN_TYPE.at(param.type.span, message))


def _check_range(param: syntax.Param, report: Diagnostics) -> bool:
    """Whether the range, if there is one, is sound."""
    if param.range is None:
        return True
    before = len(report)
    ends = [evaluate(e, {}) for e in (param.range.low, param.range.high)]
    if kind(param) in ("bool", "str") or takes_function(param):
        named = param.type.id if param.type else kind(param)
        report.add(BAD_RANGE.at(param.range.span, f"a `{named}` parameter has no range"))
    elif any(isinstance(e, bool | str) or e is None for e in ends):
        report.add(BAD_RANGE.at(param.range.span, "the ends of a range are numbers or `inf`"))
    elif not _holds_a_number(param.range, *(float(e) for e in ends if e is not None)):
        report.add(BAD_RANGE.at(param.range.span, "the range holds no number"))
    return len(report) == before


def _holds_a_number(range: syntax.Range, low: float, high: float) -> bool:
    return low < high or (low == high and not range.low_open and not range.high_open)


def _default(
    param: syntax.Param, known: Mapping[str, Scalar], limits: Bounds, report: Diagnostics
) -> Scalar | None:
    assert param.default is not None
    value = evaluate(param.default, known)
    name, type_name = param.name.id, kind(param)
    fits = isinstance(value, _TYPES[type_name])
    if value is None or not fits or (isinstance(value, bool) and type_name != "bool"):
        needs = {"float": "a number", "int": "an integer", "bool": "true or false", "str": "a text"}
        message = f"the default of `{name}` is not {needs[type_name]}"
        is_function = isinstance(param.default, syntax.Lambda)
        help = f"what takes a function is declared as `{name}: func`" if is_function else None
        report.add(BAD_DEFAULT.at(param.default.span, message, help=help))
        return None
    if type_name in ("float", "int") and not limits.admits(float(value)):
        message = f"the default of `{name}` is {value:g}; it {limits.phrase()}"
        report.add(OUT_OF_RANGE.at(param.default.span, message, label="outside"))
    return value


def hyperparameters(
    params: Iterable[syntax.Param], report: Diagnostics
) -> tuple[Hyperparameter, ...]:
    """The parameters of an optimizer, checked."""
    params = tuple(params)
    known = check(params, report)
    for param in params:
        value = known.get(param.name.id)
        if isinstance(value, float) and not math.isfinite(value):
            assert param.default is not None
            message = f"the default of `{param.name.id}` is {value:g}; a hyperparameter is finite"
            help = f"give the rule `{value:g}` itself, or a large number"
            report.add(BAD_DEFAULT.at(param.default.span, message, help=help))
    return tuple(_hyperparameter(p, known.get(p.name.id)) for p in params)


def _hyperparameter(param: syntax.Param, default: Scalar | None) -> Hyperparameter:
    limits = bounds(param)
    if kind(param) == "float" and default is not None:
        default = float(default)
    return Hyperparameter(
        name=param.name.id,
        default=default,
        low=limits.low,
        high=limits.high,
        low_open=limits.low_open and limits.low is not None,
        high_open=limits.high_open and limits.high is not None,
        kind=kind(param),
        place=param.name.span.place,
        derived=_derived(param),
    )


def _derived(param: syntax.Param) -> Term | None:
    default = term(param.default) if param.default is not None else None
    return default if default is not None and _speaks_of_parameters(default) else None


def _speaks_of_parameters(each: Term) -> bool:
    return each.op == "parameter" or any(_speaks_of_parameters(t) for t in each.terms)


def term(expr: syntax.Expr) -> Term | None:
    """An expression as a term over parameters, or None where it is more than arithmetic."""
    match expr:
        case syntax.Number() | syntax.Bool() | syntax.String():
            return Term(op="literal", arguments=(expr.value,))
        case syntax.Name():
            value = evaluate(expr, {})
            if value is not None:
                return Term(op="literal", arguments=(value,))
            return Term(op="parameter", arguments=(expr.id,))
        case syntax.Unary():
            return _application("neg" if expr.op == "-" else "not", (expr.operand,))
        case syntax.Binary() if expr.op in OPERATORS:
            return _application(OPERATORS[expr.op], (expr.left, expr.right))
        case syntax.Call(function=syntax.Name(id=function)) if function in OPS:
            return _application(function, tuple(a.value for a in expr.arguments))
        case _:
            return None


def _application(op: str, arguments: tuple[syntax.Expr, ...]) -> Term | None:
    if OPS[op].scalar is None or OPS[op].arity != len(arguments):
        return None
    terms = [term(a) for a in arguments]
    return None if None in terms else Term(op=op, arguments=tuple(t for t in terms if t))
