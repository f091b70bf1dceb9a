"""Locks: what a spec means and what its program does, kept beside it to be checked later.

The *tracks* of a lock are short trajectories on one tape: by the interpreter in float64, and by the
compiled program in float64 and float32. A track keeps three numbers for each tensor and step, its
norm, first and last entry, written exactly (`float.hex`); their tolerances have three digits.

How far a number may be from the locked one is derived, and kept too. Two versions of NumPy or XLA
round the same operations differently, so each of the two results is that of inputs which are off
by some units in their last place for each operation. `tolerance` follows the program, by the
interpreter, on tapes that are off by one unit (of float64 or float32), takes the largest change of
each number so far, and counts it once for each operation of a step, for both results. What
no change of the inputs moves may still be rounded: a unit of the number itself for each operation.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ...grammar.diagnostic import OptcError
from ..graph import Frozen, Graph, walk
from ..interpret import Extern
from ..ops import OPS
from ..records import Scalar
from .meaning import Meaning
from .tapes import TREES, Tape, TreeName, tape
from .trajectory import Trajectory, UnfitError, follow

Kind = Literal["interpreter", "float64", "float32"]

SCHEMA = 1
SEED, STEPS = 2, 12
UNITS: Mapping[Kind, float] = {"interpreter": 2.0**-52, "float64": 2.0**-52, "float32": 2.0**-23}
"""The distance of 1 and the next number, for each track."""

_TREES: tuple[TreeName, ...] = ("layers", "ranks", "positive")
_NUDGES = 3

Numbers = dict[str, list[list[float]]]
"""For each path and step: norm, first and last entry."""


class LockError(OptcError):
    """A file that is no lock; the message says what is wrong with it."""


class Track(Frozen):
    """What a program did: for each path and step the numbers, and how far each may be off."""

    numbers: dict[str, list[str]]
    tolerance: dict[str, list[str]]

    @model_validator(mode="after")
    def _check(self) -> "Track":
        for table, read in ((self.numbers, float.fromhex), (self.tolerance, float)):
            for row in (row for rows in table.values() for row in rows):
                if len([read(word) for word in row.split()]) != 3:
                    raise ValueError("a row has three numbers")
        if {k: len(v) for k, v in self.numbers.items()} != {
            k: len(v) for k, v in self.tolerance.items()
        }:
            raise ValueError("numbers and tolerances do not belong together")
        return self


class Lock(Frozen):
    """A lock file. `versions` are those of what made it; they are for people."""

    schema_version: Literal[1]
    optimizer: str
    settings: dict[str, int | float | bool | str]
    versions: dict[str, str]
    meaning: Meaning
    tree: TreeName
    seed: int
    steps: Annotated[int, Field(ge=1, le=1000)]
    tracks: dict[Kind, Track]
    left_out: dict[Kind, str]

    @model_validator(mode="after")
    def _check(self) -> "Lock":
        for each in self.tracks.values():
            if each.numbers.keys() != TREES[self.tree].keys():
                raise ValueError(f"a track is not of the tree `{self.tree}`")
            if any(len(rows) != self.steps for rows in each.numbers.values()):
                raise ValueError(f"a track has not {self.steps} steps")
        return self

    def text(self) -> str:
        """The file: the same lock gives the same bytes."""
        return self.model_dump_json(indent=1) + "\n"

    def tape(self) -> Tape:
        """What the tracks run on."""
        return tape(self.seed, self.tree, self.steps)


def read_lock(name: str, text: str) -> Lock:
    """The lock that a file says. Raises LockError."""
    try:
        return Lock.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        where = f" at `{place}`" if place else ""
        if place == "schema_version" and first["type"] != "missing":
            raise LockError(f"{name} is a lock of another version of optc") from None
        raise LockError(f"{name} is no lock file: {first['msg'].lower()}{where}") from None


@dataclass(frozen=True)
class Deviation:
    """The first number of a track that is further from the locked one than rounding explains."""

    track: Kind
    step: int
    path: str
    locked: float
    found: float
    tolerance: float

    def __str__(self) -> str:
        by = abs(self.found - self.locked)
        return (
            f"{self.track}: at step {self.step}, `{self.path}` is {self.found!r} and was "
            f"{self.locked!r}: off by {by:.3g}, where rounding explains {self.tolerance:.3g}"
        )


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


def numbers(paths: Sequence[str], weights: Sequence[Sequence[Any]]) -> Numbers:
    """The numbers of a track: `weights` has the tensors of each step."""
    return {
        path: [_numbers(np.asarray(step[place], np.float64)) for step in weights]
        for place, path in enumerate(paths)
    }


def tolerances(
    graph: Graph, taped: Tape, values: Mapping[str, Scalar], unit: float, extern: Extern | None
) -> Numbers:
    """How far each number may be off: see the module's docstring."""

    def run(on: Tape) -> Numbers:
        moments = follow(graph, on, values, extern=extern).moments
        return numbers(taped.paths, [m.weights for m in moments])

    exact = run(taped)
    moved = [run(_nudged(taped, seed, unit)) for seed in range(_NUDGES)]
    operations = sum(OPS[n.op].op_class in ("elementwise", "reduction") for n in walk(graph.step))
    # A sum of as many numbers as the tape has is that many operations.
    operations += sum(w.size for w in taped.weights)
    found: Numbers = {}
    for path in taped.paths:
        worst = np.zeros(3)
        found[path] = []
        for step, row in enumerate(exact[path]):
            apart = [np.abs(np.subtract(other[path][step], row)) for other in moved]
            worst = np.fmax(worst, np.max(apart, axis=0))
            limit = 2 * operations * (worst + unit * np.abs(row))
            found[path].append([float(x) for x in limit])
    return found


def track(found: Numbers, limits: Numbers) -> Track:
    """A track as it is kept."""
    return Track(
        numbers=_written(found, float.hex),
        tolerance=_written(limits, lambda x: f"{x:.2e}"),
    )


def deviation(kind: Kind, locked: Track, found: Numbers) -> Deviation | None:
    """The first step at which a program does not do what was locked, and there the largest."""
    steps = max((len(rows) for rows in locked.numbers.values()), default=0)
    for step in range(steps):
        apart = []
        for path, rows in locked.numbers.items():
            old = map(float.fromhex, rows[step].split())
            limits = map(float, locked.tolerance[path][step].split())
            apart += [
                Deviation(kind, step + 1, path, was, new, most)
                for was, most, new in zip(old, limits, found[path][step], strict=True)
                if not _within(was, new, most)
            ]
        if apart:
            return max(apart, key=lambda d: abs(d.found - d.locked))
    return None


def _within(was: float, new: float, most: float) -> bool:
    if np.isnan(was) or np.isnan(new):
        return bool(np.isnan(was) and np.isnan(new))
    return was == new or np.isnan(most) or abs(was - new) <= most


def _numbers(x: Any) -> list[float]:
    flat = np.ravel(x)
    with np.errstate(over="ignore", invalid="ignore"):
        return [float(np.sqrt(np.sum(flat * flat))), float(flat[0]), float(flat[-1])]


def _written(found: Numbers, write: Callable[[float], str]) -> dict[str, list[str]]:
    return {path: [" ".join(map(write, row)) for row in rows] for path, rows in found.items()}


def _nudged(taped: Tape, seed: int, unit: float) -> Tape:
    """The tape with each number off by one unit in its last place, or not."""
    source = random.Random(f"optc lock nudge {seed}")

    def nudge(x: Any) -> Any:
        signs = [source.choice((-1.0, 0.0, 1.0)) for _ in range(np.size(x))]
        return x * (1 + unit * np.reshape(signs, np.shape(x)))

    batches = tuple(
        replace(batch, inputs=nudge(batch.inputs), targets=nudge(batch.targets))
        for batch in taped.batches
    )
    return replace(taped, weights=tuple(nudge(w) for w in taped.weights), batches=batches)
