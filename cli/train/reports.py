"""The reports of the steps since the last one that was logged, which wait on the device."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ...runtime import Report
from .metrics import Observed


class Reports:
    """Reports by step. Reading one waits for its step, so they are read when one is logged.

    A step where something was observed that other steps do not look at, by `every n`, is worth a
    line of its own, wherever it lies between the steps that are logged.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Any, Mapping[str, Any]]] = {}
        self._sizes: dict[int, int | None] = {}

    def add(self, step: int, report: Report, batch_size: int | None = None) -> None:
        """Keep the loss and the observations of a step, and its batch's size where batches grow."""
        self._waiting[step] = report.loss, report.observed
        self._sizes[step] = batch_size

    def take(self, logged: bool) -> Iterator[tuple[int, float, dict[str, Observed], int | None]]:
        """The steps worth a line, with loss, observations and batch; the newest if `logged`."""
        found: dict[int, tuple[Any, Mapping[str, Any]]] = jax.device_get(self._waiting)
        sizes, self._sizes = self._sizes, {}
        self._waiting.clear()
        seen = {step: _seen(observed) for step, (_, observed) in found.items()}
        always = frozenset.intersection(*seen.values()) if seen else frozenset()
        newest = max(found, default=0)
        for step, (loss, observed) in found.items():
            if seen[step] - always or (logged and step == newest):
                yield step, float(loss), plain(observed), sizes[step]


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as plain data, the loss first and the others by name: JAX forgets their order."""
    ordered = sorted(values, key=lambda name: (name != "loss", name))
    return {name: _plain(values[name]) for name in ordered}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: float(x) for name, x in value.items()}
    return np.asarray(value, float).tolist()


def _seen(observed: Mapping[str, Any]) -> frozenset[str]:
    """The observations that were due."""
    numbers = {name: jax.tree.leaves(value) for name, value in observed.items()}
    return frozenset(
        name for name, xs in numbers.items() if not all(math.isnan(np.ravel(x)[0]) for x in xs)
    )
