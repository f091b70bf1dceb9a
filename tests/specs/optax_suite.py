"""Our transformations put in the place of optax's, by their claims.

A claim `equals optax.adamw(lr, b1, b2, eps, weight_decay = decay)` is read backwards: a callable
with the signature of `optax.adamw` binds `lr` to `learning_rate`, and so on, and gives the
transformation of our optimizer. What the claim does not speak of must have the default of optax,
or the callable says why it has no program for these arguments and calls optax's own.
"""

import functools
import importlib
import inspect
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import numpy as np
import optax
from claims import around, claims, title

from optc.grammar import syntax

MODULES = (
    "optax._src.alias_test",
    "optax._src.transform_test",
    "optax._src.factorized_test",
    "optax._src.float64_test",
    "optax._src.lookahead_test",
    "optax._src.combine_test",
    "optax.contrib._common_test",
    "optax.contrib._complex_valued_test",
    "optax.contrib._mechanic_test",
    "optax.contrib._sam_test",
    "optax.contrib._schedule_free_test",
    "optax.contrib._reduce_on_plateau_test",
    "optax.schedules._inject_test",
    "optax.transforms._accumulation_test",
    "optax.transforms._adding_test",
    "optax.transforms._clipping_test",
    "optax.transforms._combining_test",
    "optax.transforms._conditionality_test",
    "optax.transforms._constraining_test",
    "optax.transforms._freezing_test",
    "optax.transforms._masking_test",
    "optax.transforms._monitoring_test",
    "optax.tree_utils._state_utils_test",
)
"""The tests of optax's wheel that make transformations by name."""

NOT_OURS = ("LBFGSTest",)
"""What is left out: methods that are not first-order."""


class UnlikeError(Exception):
    """Why a claim has no program for some arguments, and the place of the one that shows it."""

    place = sys.maxsize


@dataclass
class Calls:
    """What was made during a test: the names in optax that were ours, and refusals."""

    ours: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


_calls = Calls()


def target(item) -> str | None:
    """The name in optax that an item claims to be; None where a claim has no inverse."""
    names, function = [], item.equals.function
    while isinstance(function, syntax.Attribute):
        names.append(function.name.id)
        function = function.value
    made = [a.value.function for a in item.equals.arguments if isinstance(a.value, syntax.Call)]
    plain = all(isinstance(f, syntax.Name) and f.id == "tuple" for f in made)
    return ".".join(reversed(names)) if plain else None


def inverted(item, original: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """The values of our parameters with which an item is `original(**given)`."""
    signature = inspect.signature(original)
    positional = [a.value for a in item.equals.arguments if a.name is None]
    said = dict(zip(signature.parameters, positional, strict=False))
    said |= {a.name.id: a.value for a in item.equals.arguments if a.name}
    ours: dict[str, Any] = {}
    for place, (name, found) in enumerate(given.items()):
        try:
            if name in said:
                _match(name, said[name], found, ours)
            elif not _same(found, signature.parameters[name].default):
                raise UnlikeError(f"`{name}` has no counterpart")
        except UnlikeError as error:
            error.place = place
            raise
    return ours


def _match(name: str, expression: Any, found: Any, ours: dict[str, Any]) -> None:
    """Bind our parameters in an argument of a claim to what was found for it."""
    match expression:
        case syntax.Call() if isinstance(found, tuple):
            if len(found) != len(expression.arguments):
                raise UnlikeError(f"`{name}` has another length")
            for argument, part in zip(expression.arguments, found, strict=True):
                _match(name, argument.value, part, ours)
        case syntax.Name(id=parameter) if parameter != "inf":
            if found is None:
                raise UnlikeError(f"`{name}` is None")
            ours[parameter] = found
        case syntax.Number() | syntax.Bool() | syntax.String() if _same(found, expression.value):
            pass
        case _:
            raise UnlikeError(f"`{name}` has no counterpart")


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, jax.core.Tracer):
        return False
    if found is expected or (isinstance(found, str) and found == expected):
        return True
    numbers = int | float | np.ndarray | jax.Array
    return isinstance(found, numbers) and isinstance(expected, numbers) and found == expected


@cache
def _program(index: int):
    return around(_ITEMS[index], scale="-1.0")


_ITEMS = [item for item in claims() if target(item)]


def replacement(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """A callable like `original` that gives our transformation wherever a claim allows it."""
    signature = inspect.signature(original)
    numbers = [i for i, item in enumerate(_ITEMS) if target(item) == name]

    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        reasons = []
        for number in numbers:
            try:
                values = inverted(_ITEMS[number], original, dict(bound.arguments))
                made = _transformation(_program(number), values)
            except UnlikeError as reason:
                reasons.append(reason)
                continue
            _calls.ours[name] = title(_ITEMS[number])
            return made
        # The nearest claim is the one that failed last in the order of the arguments.
        _calls.refused[name] = str(max(reasons, key=lambda reason: reason.place))
        return original(*args, **kwargs)

    return make


def _transformation(program, values: dict[str, Any]):
    """Our transformation; schedules are injected, as optax does it for all hyperparameters."""
    if not any(callable(x) for x in values.values()):
        try:
            return program(**values).transform()
        except (ValueError, TypeError) as error:
            raise UnlikeError(str(error)) from None

    def made(**numbers):
        return program(**numbers).transform()

    kinds = inspect.Parameter.KEYWORD_ONLY
    made.__signature__ = inspect.Signature([inspect.Parameter(name, kinds) for name in values])
    static = [name for name in values if program.hyperparameters[name].static]
    return optax.inject_hyperparams(made, static)(**values)


@cache
def _replacements() -> list[tuple[Any, str, Any, Any]]:
    """Each place in optax that holds a claimed function, with the original and ours."""
    places = []
    for name in sorted({target(item) for item in _ITEMS}):
        original = functools.reduce(getattr, name.split("."), optax)
        ours = replacement(name, original)
        for module_name, module in sorted(sys.modules.items()):
            if module_name.partition(".")[0] == "optax" and not module_name.endswith("_test"):
                places += [
                    (module, key, original, ours)
                    for key, found in list(vars(module).items())
                    if found is original
                ]
    return places


@contextmanager
def ours_in_place() -> Iterator[Calls]:
    """Everything that is claimed is ours in all of optax; yields what is made of it."""
    global _calls
    _calls = calls = Calls()
    try:
        for module, key, _, ours in _replacements():
            setattr(module, key, ours)
        yield calls
    finally:
        for module, key, original, _ in _replacements():
            setattr(module, key, original)


def cases() -> Iterator[tuple[type[unittest.TestCase], str]]:
    """Each test of the shipped modules: its class and the name of the method."""
    with ours_in_place():
        for module_name in MODULES:
            module = importlib.import_module(module_name)
            for found in vars(module).values():
                own = inspect.isclass(found) and found.__module__ == module_name
                if own and issubclass(found, unittest.TestCase) and found.__name__ not in NOT_OURS:
                    for method in unittest.defaultTestLoader.getTestCaseNames(found):
                        yield found, method


def run(case: type[unittest.TestCase], method: str) -> tuple[unittest.TestResult, Calls]:
    """The result of one test, and what was ours in it."""
    result = unittest.TestResult()
    with ours_in_place() as calls:
        case(method).run(result)
    return result, calls
