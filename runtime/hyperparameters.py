"""Hyperparameters: declared once, checked when they are bound and when they are changed.

Floats are runtime inputs, kept in the state: they can be changed, traced and vmapped. Ints,
bools and strings are static: another value is another compiled program.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from .field import scalar_dtype

Value: TypeAlias = Any
"""A Python number, bool or string, or a scalar array (perhaps traced) for a float."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One hyperparameter: its default, the range of its values and where it is declared.

    `default` may be a function of the values bound before it; None means that a value must be
    given. `type` is float, int, bool or str; without it a static one has the type of its default.
    """

    name: str
    default: float | bool | str | Callable[[Mapping[str, Value]], Value] | None = None
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    static: bool = False
    doc: str = ""
    line: str = ""
    type: str = ""

    def __post_init__(self) -> None:
        if not self.type:
            inferred = type(self.default).__name__ if self.static else "float"
            object.__setattr__(self, "type", inferred)

    @property
    def range(self) -> str:
        """The range in words: "at least 0 and below 1"; empty where anything goes."""
        low = f"{'above' if self.low_open else 'at least'} {self.low}"
        high = f"{'below' if self.high_open else 'at most'} {self.high}"
        ends = [(self.low, low), (self.high, high)]
        return " and ".join(text for end, text in ends if end is not None)

    def check(self, value: Value) -> Value:
        """The value in its Python type, or the array that it is.

        Raises TypeError for a value of another type and ValueError for one that is not finite
        or out of range. A traced value is only known to be a scalar.
        """
        match self.type:
            case "float":
                return self._check_float(value)
            case "int":
                if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
                    raise TypeError(self._refusal(value, "it must be an int"))
                self._check_range(int(value))
                return int(value)
            case "bool":
                if not isinstance(value, bool | np.bool_):
                    raise TypeError(self._refusal(value, "it must be True or False"))
                return bool(value)
            case _:
                if not isinstance(value, str):
                    raise TypeError(self._refusal(value, "it must be a string"))
                return value

    def _check_float(self, value: Value) -> Value:
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            if value.dtype == bool or not jnp.issubdtype(value.dtype, jnp.number):
                raise TypeError(self._refusal(value, "it must be a number"))
            if value.shape != ():
                raise ValueError(
                    f"`{self.name}` has shape {value.shape}; it must be one number{self._place()}"
                )
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(self._refusal(value, "it must be a number"))
        if not isinstance(value, jax.core.Tracer):
            self._check_range(float(value))
        return value

    def _check_range(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(self._refusal(value, "it must be finite"))
        below = self.low is not None and (value < self.low or (self.low_open and value == self.low))
        above = self.high is not None and (
            value > self.high or (self.high_open and value == self.high)
        )
        if below or above:
            raise ValueError(self._refusal(value, f"it must be {self.range}"))

    def _refusal(self, value: Value, rule: str) -> str:
        return f"`{self.name}` is {value!r}; {rule}{self._place()}"

    def _place(self) -> str:
        return f" ({self.line})" if self.line else ""


def bind(declared: Iterable[Hyperparameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """A checked value for each hyperparameter: the given one, or its default.

    Raises ValueError for a name that is not declared and for one that has neither.
    """
    by_name = {parameter.name: parameter for parameter in declared}
    check_names(by_name, values)
    bound: dict[str, Value] = {}
    for name, parameter in by_name.items():
        value = values.get(name, parameter.default)
        if value is None and name not in values:
            place = f" ({parameter.line})" if parameter.line else ""
            raise ValueError(f"`{name}` has no default; give it a value{place}")
        bound[name] = parameter.check(value(bound) if callable(value) else value)
    return bound


def check_names(known: Iterable[str], given: Iterable[str]) -> None:
    """Raise ValueError for the first given name that is not known, with the nearest one."""
    names = sorted(known)
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.6)
            hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(names)}"
            raise ValueError(f"no hyperparameter is named `{name}`; {hint}")


def as_scalar(value: Value) -> jax.Array:
    """A float hyperparameter as the state keeps it: a scalar in a buffer of its own."""
    return jnp.array(value, scalar_dtype(), copy=True)
