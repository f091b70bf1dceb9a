"""Which optimizer of the library an expression over optax is, by what the library claims.

A claim is such an expression itself, over the optimizer's parameters: it is matched with the one
that was asked for, argument by argument, and the parameters are what stands in their places.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..compiler import library
from ..compiler.records import Scalar
from ..grammar import syntax
from .twins import CONSTANTS, TwinError, called, names, value


def claimant(expr: syntax.Expr, known: Mapping[str, Any]) -> tuple[str, dict[str, Scalar]] | None:
    """The optimizer of the library that claims to equal a call, and its values there.

    `known` are the values of the call's names. None where there is none, or where the call says
    something that no parameter of it does.
    """
    if not isinstance(expr, syntax.Call):
        return None
    for name, claim in _claims(expr):
        match = _Match(known)
        if match.calls(claim, expr) and match.holds():
            return name, match.values
    return None


def _claims(call: syntax.Call) -> Iterator[tuple[str, syntax.Call]]:
    """What optimizers claim to equal that name the function of a call."""
    last = call.function.name if isinstance(call.function, syntax.Attribute) else call.function
    # Reading two hundred files takes a moment, and most do not speak of the function.
    for name in library.names("optimizer"):
        if last.id not in library.written("optimizer", name):
            continue
        file = library.file("optimizer", name)
        for item in file.items if file else ():
            if isinstance(item, syntax.OptimizerDecl) and item.name.id == name and item.equals:
                yield name, item.equals


class _Match:
    """A claim and a call while they are matched: the values of the claim's parameters so far."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.values: dict[str, Scalar] = {}
        self._known = known
        self._later: list[tuple[syntax.Expr, Any]] = []

    def calls(self, claim: syntax.Call, call: syntax.Call) -> bool:
        """Whether both are calls of one function with arguments that agree."""
        try:
            function = called(claim)
            if called(call) is not function:
                return False
        except TwinError:  # this version of optax does not have it
            return False
        defaults = _defaults(function)
        said, asked = _arguments(claim, defaults), _arguments(call, defaults)
        return asked.keys() <= said.keys() | defaults.keys() and all(
            self._agrees(said.get(key), asked.get(key), defaults.get(key))
            for key in said.keys() | asked.keys()
        )

    def holds(self) -> bool:
        """Whether what is worked out from several parameters has the value that was asked for."""
        return all(
            set(names(expr)) <= self.values.keys() and _equal(value(expr, self.values), given)
            for expr, given in self._later
        )

    def _agrees(self, said: syntax.Expr | None, asked: syntax.Expr | None, default: Any) -> bool:
        match said, asked:
            case syntax.Call(), syntax.Call() if not _is_tuple(said):
                return self.calls(said, asked)
            case None, _:
                return asked is not None and _equal(value(asked, self._known), default)
            case _:
                given = default if asked is None else value(asked, self._known)
                return self._solved(said, given)

    def _solved(self, said: syntax.Expr, given: Any) -> bool:
        """Whether an expression of parameters may be a value, which then is known of them."""
        match said:
            case syntax.Name(id=name) if name not in CONSTANTS:
                if not isinstance(given, bool | int | float | str):
                    return False
                return _equal(self.values.setdefault(name, given), given)
            case syntax.Unary(op="-") if isinstance(given, int | float):
                return self._solved(said.operand, -given)
            case syntax.Call() if _is_tuple(said):
                parts = [argument.value for argument in said.arguments]
                if not isinstance(given, tuple) or len(given) != len(parts):
                    return False
                return all(map(self._solved, parts, given))
            case _:
                self._later.append((said, given))
                return True


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)


def _is_tuple(call: syntax.Call) -> bool:
    return call.function.span.text == "tuple"


def _arguments(call: syntax.Call, defaults: Mapping[str, Any]) -> dict[str, syntax.Expr]:
    """The arguments of a call by the names that its function has for them, or by their places."""
    placed = [a.value for a in call.arguments if a.name is None]
    keys = [*defaults, *(str(place) for place in range(len(defaults), len(placed)))]
    found = dict(zip(keys, placed, strict=False))
    return found | {a.name.id: a.value for a in call.arguments if a.name}


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The named parameters of a function with their defaults."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.kind not in kinds}
