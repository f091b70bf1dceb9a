"""Locks: what a spec means and what its program does, kept beside it to be checked later.

A lock has a `Meaning` and a `Track` for each way of running the program: by the interpreter in
float64, and compiled in float64 and float32. Numbers are written exactly (`float.hex`); how far
each may be off (see `tracks`) has three digits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from ...grammar.diagnostic import OptcError
from ..graph import Frozen
from .meaning import Meaning
from .tapes import TREES, Tape, TreeName, tape
from .tracks import EVALUATED, REPORTED, Numbers

Kind = Literal["interpreter", "float64", "float32"]

UNITS: Mapping[Kind, float] = {"interpreter": 2.0**-52, "float64": 2.0**-52, "float32": 2.0**-23}
"""The distance of 1 and the next number, for each track."""


class LockError(OptcError):
    """A file that is no lock; the message says what is wrong with it."""


class Track(Frozen):
    """What a program did: rows for each step, and how far each number may be off.

    The rows of a name end where rounding takes over.
    """

    numbers: dict[str, list[str]]
    tolerance: dict[str, list[str]]

    @model_validator(mode="after")
    def _check(self) -> "Track":
        if _shape(self.numbers) != _shape(self.tolerance):
            raise ValueError("numbers and tolerances do not belong together")
        _read(self.numbers, float.fromhex)
        limits = _read(self.tolerance, float)
        words = [x for rows in limits.values() for row in rows for x in row]
        if not all(isfinite(x) and x >= 0 for x in words):
            raise ValueError("a tolerance is no finite number from 0")
        return self


class Lock(Frozen):
    """A lock file. `versions` are those of what made it; they are for people.

    `spec` is the file of the optimizer, from the folder of the lock; None for one of the library.
    """

    schema_version: Literal[1]
    optimizer: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
    spec: Annotated[str, Field(pattern=r"\.opt$")] | None
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
        if self.tracks.keys() | self.left_out.keys() != UNITS.keys() or not self.tracks:
            raise ValueError("a track is missing")
        if any(isinstance(x, float) and isnan(x) for x in self.settings.values()):
            raise ValueError("a setting is no number")
        widths = self._widths()
        for each in self.tracks.values():
            found = _shape(each.numbers)
            if found.keys() != widths.keys():
                raise ValueError(f"a track is not of the optimizer on the tree `{self.tree}`")
            if any(len(rows) > self.steps for rows in found.values()):
                raise ValueError(f"a track has more than {self.steps} steps")
            if any({*rows} - {widths[name]} for name, rows in found.items()):
                raise ValueError("a row has another length than others")
        return self

    def _widths(self) -> dict[str, int]:
        """What a track is of, and how many numbers are in a row of each."""
        paths, results = TREES[self.tree], self.meaning.results
        averages = (EVALUATED.format(path) for path in paths) if "evaluation" in results else ()
        observed = (name for name in results if name.startswith(REPORTED))
        return {**dict.fromkeys((*paths, *averages), 3), **dict.fromkeys(observed, 1)}

    def text(self) -> str:
        """The file: the same lock gives the same bytes."""
        return self.model_dump_json(indent=1) + "\n"

    def tape(self) -> Tape:
        """What the tracks run on."""
        return tape(self.seed, self.tree, self.steps)

    def ends(self) -> Iterator[tuple[Kind, str, int]]:
        """Where rounding takes over before the last step: the track, of what, and from which step.

        Of the weights it is of all.
        """
        for kind, track in self.tracks.items():
            steps = {name: len(rows) + 1 for name, rows in track.numbers.items()}
            first = min(steps[path] for path in TREES[self.tree])
            if first <= self.steps:
                yield kind, "all", first
            yield from ((kind, f"`{name}`", n) for name, n in steps.items() if n < first)


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
        what = first["msg"].removeprefix("Value error, ")
        raise LockError(f"{name} is no lock file: {what[0].lower()}{what[1:]}{where}") from None


@dataclass(frozen=True)
class Deviation:
    """The first number of a track that is further from the locked one than rounding explains."""

    track: Kind
    step: int
    of: str
    locked: float
    found: float
    tolerance: float

    def __str__(self) -> str:
        by = abs(self.found - self.locked)
        text = (
            f"{self.track}: at step {self.step}, `{self.of}` is {self.found!r} and was "
            f"{self.locked!r}"
        )
        if not isfinite(by):
            return text
        return f"{text}: off by {by:.3g}, where rounding explains {self.tolerance:.3g}"


def track(found: Numbers, limits: Numbers) -> Track:
    """A track as it is kept: as long as its limits are."""
    return Track(
        numbers=_written({k: rows[: len(limits[k])] for k, rows in found.items()}, float.hex),
        tolerance=_written(limits, lambda x: f"{x:.2e}"),
    )


def deviation(kind: Kind, locked: Track, found: Numbers) -> Deviation | None:
    """The first step at which a program does not do what was locked, and there the worst."""
    old, limits = _read(locked.numbers, float.fromhex), _read(locked.tolerance, float)
    apart = [
        Deviation(kind, step + 1, name, was, new, most)
        for name, rows in old.items()
        for step, row in enumerate(rows)
        for was, most, new in zip(row, limits[name][step], found[name][step], strict=True)
        if not _within(was, new, most)
    ]
    return min(apart, key=lambda d: (d.step, -_excess(d)), default=None)


def _within(was: float, new: float, most: float) -> bool:
    return was == new or (isnan(was) and isnan(new)) or abs(was - new) <= most


def _excess(found: Deviation) -> float:
    """By how many times its tolerance a number is off."""
    by = abs(found.found - found.locked)
    return by / found.tolerance if isfinite(by) and found.tolerance else float("inf")


def _shape(table: Mapping[str, list[str]]) -> dict[str, list[int]]:
    return {name: [len(row.split()) for row in rows] for name, rows in table.items()}


def _read(table: Mapping[str, list[str]], read: Callable[[str], float]) -> Numbers:
    try:
        return {
            k: [[read(word) for word in row.split()] for row in rows] for k, rows in table.items()
        }
    except OverflowError:
        raise ValueError("a number is too large") from None


def _written(found: Numbers, write: Callable[[float], str]) -> dict[str, list[str]]:
    return {name: [" ".join(map(write, row)) for row in rows] for name, rows in found.items()}
