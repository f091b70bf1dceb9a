"""Tracks: short trajectories on one tape in a few numbers, and how far each may be off.

What may be off is derived. A program whose operations err by some units in their last place
(`rounding`) shows how far such errors come by each step. The largest of them, `_MARGIN` times, is
what two machines may differ by; a number that no error moved may still be off by units of its own.
Where that is a hundredth of a number, its rows end, and all rows with those of a weight: from there
on rounding decides.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..environment import Extern
from ..graph import Graph
from ..records import Scalar
from .rounding import samples
from .tapes import Tape, TreeName, tape
from .trajectory import Trajectory, UnfitError, follow

SEED, STEPS = 2, 12

Numbers = dict[str, list[list[float]]]
"""Rows for each step: norm, first and last entry of a tensor, or one number that is reported."""

EVALUATED, REPORTED = "{} to evaluate", ("observed ", "requested ")
"""What the rows of a tensor's average are called, and how those of a report begin."""

_TREES: tuple[TreeName, ...] = ("layers", "ranks", "positive")
_MARGIN = 8
_WORTH = 0.01


class Seen(Protocol):
    """What is there after a step."""

    @property
    def weights(self) -> Sequence[Any]:
        """The weights."""

    @property
    def evaluation(self) -> Sequence[Any]:
        """The weights to evaluate with."""

    @property
    def observed(self) -> Mapping[str, Any]:
        """What is reported."""


def fitting_tape(
    graph: Graph, values: Mapping[str, Scalar], extern: Extern | None = None
) -> tuple[Tape, Trajectory]:
    """A tape that the program accepts, if possible one on which it stays finite.

    Raises UnfitError where there is none.
    """
    reasons: list[UnfitError] = []
    found = []
    for tree in _TREES:
        taped = tape(SEED, tree, STEPS)
        try:
            found.append((taped, follow(graph, taped, values, extern=extern)))
        except UnfitError as error:
            reasons.append(error)
            continue
        if all(np.isfinite(x).all() for m in found[-1][1].moments for x in m.weights):
            return found[-1]
    if not found:
        raise reasons[0]
    return found[0]


def numbers(graph: Graph, taped: Tape, seen: Sequence[Seen]) -> Numbers:
    """The numbers of a run: of its weights, those to evaluate with, and what is reported."""
    found: Numbers = {}
    for place, path in enumerate(taped.paths):
        found[path] = [_tensor(moment.weights[place]) for moment in seen]
        if graph.evaluation is not None:
            found[EVALUATED.format(path)] = [_tensor(m.evaluation[place]) for m in seen]
    for output in (o for o in graph.outputs if o.is_reported):
        found[output.label] = [[_size(m.observed[output.name])] for m in seen]
    return found


def tolerances(
    graph: Graph, taped: Tape, values: Mapping[str, Scalar], unit: float, extern: Extern | None
) -> Numbers:
    """How far each number may be off, for the steps at which it is worth asking."""
    exact, *erring = (
        numbers(graph, taped, run.moments) for run in samples(graph, taped, values, unit, extern)
    )
    found: Numbers = {}
    for name, rows in exact.items():
        worst = np.zeros(len(rows[0]))
        size = 0.0
        found[name] = []
        for step, row in enumerate(rows):
            # What is not finite in each run, such as a report that is not due, is off by nothing.
            moved = [_apart(np.asarray(other[name][step]), np.asarray(row)) for other in erring]
            worst = np.maximum(worst, np.max(moved, axis=0))
            known = np.nan_to_num(np.abs(row), nan=0.0, posinf=0.0)
            size = max(size, known[0])
            limit = _MARGIN * (worst + unit * known)
            if not np.all(limit <= _WORTH * size):
                break
            found[name].append([float(x) for x in limit])
    # Errors do not show all that a program may do once they decide about its weights.
    steps = min(len(found[path]) for path in taped.paths)
    return {name: rows[:steps] for name, rows in found.items()}


def _apart(one: Any, other: Any) -> Any:
    with np.errstate(invalid="ignore"):
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        return np.nan_to_num(np.where(same, 0.0, np.abs(one - other)), nan=np.inf)


def _size(observed: Any) -> float:
    """An observation as one number: what is reported of each tensor, or node, by its length."""
    if isinstance(observed, Mapping):
        observed = list(map(float, observed.values())) or [0.0]
    return float(observed) if np.ndim(observed) == 0 else _tensor(observed)[0]


def _tensor(x: Any) -> list[float]:
    flat = np.ravel(np.asarray(x, np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        return [float(np.sqrt(np.sum(flat * flat))), float(flat[0]), float(flat[-1])]
