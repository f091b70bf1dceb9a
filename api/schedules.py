"""Schedules as values: numbers of the step count that can be called, drawn, and given to optax."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..compiler.graph import Graph
from ..compiler.locate import NotFoundError, find
from ..compiler.records import Scalar
from ..compiler.schedules import curves, value

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A rate for each step `t`, counted from 1, in float64.

    >>> rate = schedule("linear_decay", peak=0.1, total=4)
    >>> rate
    Schedule(linear_decay(peak = 0.1, total = 4))
    >>> rate(2), rate([1, 4])
    (0.05, array([0.075, 0.   ]))
    """

    text: str
    arguments: Mapping[str, Scalar]
    graph: Graph

    def __call__(self, t: ArrayLike) -> Any:
        """The rate of step `t`; an array of steps gives an array of rates."""
        steps = np.asarray(t, np.float64)
        with np.errstate(all="ignore"):
            rates = np.asarray(value(self.graph, steps, np), np.float64)
        return float(rates) if steps.ndim == 0 else np.broadcast_to(rates, steps.shape).copy()

    def values(self, total: int) -> NDArray[np.float64]:
        """The rates of the steps 1 to `total`."""
        rates: NDArray[np.float64] = self(np.arange(1, total + 1))
        return rates

    def optax(self) -> Callable[[Any], Any]:
        """The schedule as optax takes it: a function of the number of steps that were done.

        optax counts from 0 where `t` counts from 1, so the rate at `count` is that of step
        `t = count + 1`. The count may be traced, and the rate has JAX's default float.
        """
        import jax.numpy as jnp  # a schedule in NumPy does without JAX

        def rate(count: Any) -> Any:
            t = jnp.asarray(count) + 1
            return jnp.asarray(value(self.graph, t.astype(float), jnp), float)

        return rate

    def plot(self, total: int = 1000) -> "Figure":
        """A picture of the steps 1 to `total`; `figure.savefig(path)` keeps it.

        Needs matplotlib.
        """
        from .picture import draw  # the one thing here that needs the extra `train`

        return draw({self.text: self.values(total)})

    def __repr__(self) -> str:
        return f"Schedule({self.text})"


def schedule(spec: str | PathLike[str], **arguments: Scalar) -> Schedule:
    """The schedule `spec` with these arguments.

    `spec` is a schedule of the library, `path.opt:NAME`, or an expression over `t` with names of
    the library or, as `path.opt:EXPRESSION`, of a file. Raises FileNotFoundError when there is no
    such file, and SpecError for an unknown name or argument and a value out of range.

    >>> schedule("0.1 * min(t / 10, 1)")(5)
    0.05
    """
    given = {name: _scalar(name, each) for name, each in arguments.items()}
    try:
        found = ask(fspath(spec), given)
    except NotFoundError as error:
        raise FileNotFoundError(str(error)) from None
    if len(found) != 1:
        raise ValueError(f"`{fspath(spec)}` has {len(found)} step sizes, and a schedule is one")
    return found[0]


def ask(spec: str, settings: Mapping[str, Scalar], *, strict: bool = True) -> tuple[Schedule, ...]:
    """The schedules that a text stands for; an optimizer has one for each `tune step`.

    Raises NotFoundError and SpecError.
    """
    path, file, text = spec.rpartition(".opt:")
    located = find(path + ".opt") if file else None
    text = text.strip()
    if settings and strict and not text.isidentifier():
        raise ValueError(f"`{text}` is an expression: its values are written in it")
    found = curves(located, text, settings, strict=strict)
    where = f"{path}.opt:" if file else ""
    return tuple(Schedule(f"{where}{curve.text}", curve.given, curve.graph) for curve in found)


def _scalar(name: str, given: Any) -> Scalar:
    """An argument as a literal of the language can say it."""
    if isinstance(given, np.generic) or (isinstance(given, np.ndarray) and given.ndim == 0):
        given = given.item()
    if not isinstance(given, bool | int | float | str) or given != given:
        raise TypeError(f"`{name}` is {given!r}; a schedule takes numbers, truth values and texts")
    return given
