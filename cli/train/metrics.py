"""`metrics.jsonl`: one JSON object for each logged step.

    {"step": 100, "loss": 0.31, "observed": {"grad_norm": 0.8}, "evaluation": {}, "seconds": 2.1}

An observation is a number, an object with one for each tensor, or for a spectrum a list of its
nodes and one of their weights. A number that is not finite, or that its step did not compute, is
null. `evaluation` is filled on the steps that evaluate; `seconds` counts from the run's start, over
all resumes. Where batches grow there is the `batch_size` of the step too.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ..output import write

Observed: TypeAlias = float | dict[str, float] | list[list[float]]
"""What one step observed under a name."""


@dataclass(frozen=True)
class Entry:
    """What one logged step measured; null reads back as nan."""

    step: int
    loss: float
    observed: dict[str, Observed] = field(default_factory=dict)
    evaluation: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    batch_size: int | None = None

    def number(self, name: str) -> float:
        """An observation that is a number; nan where there is none."""
        value = self.observed.get(name, math.nan)
        return value if isinstance(value, int | float) else math.nan

    def line(self) -> str:
        """The entry as one line of strict JSON."""
        fields = asdict(self)
        if self.batch_size is None:
            del fields["batch_size"]
        return json.dumps(_finite(fields), allow_nan=False)


class Metrics:
    """The entries of a run, in a file that grows line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Entry]:
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
                # A run that was killed while it wrote leaves a line without its end.
                if line.endswith("\n"):
                    yield _read(line)

    def append(self, entry: Entry) -> None:
        """Add an entry; it is in the file when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(entry.line() + "\n")

    def cut(self, step: int) -> float:
        """Forget what was logged after `step`, and say how many seconds the rest had taken."""
        kept = [entry for entry in self if entry.step <= step]
        write(self._path, "".join(entry.line() + "\n" for entry in kept))
        return kept[-1].seconds if kept else 0.0


def _finite(value: object) -> object:
    """The same value with null for each number that JSON cannot write."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: _finite(item) for name, item in value.items()}
        case list():
            return [_finite(item) for item in value]
        case _:
            return value


def _read(line: str) -> Entry:
    fields = json.loads(line)
    return Entry(
        step=fields["step"],
        loss=_with_nan(fields["loss"]),
        observed=_with_nan(fields["observed"]),
        evaluation=_with_nan(fields["evaluation"]),
        seconds=fields["seconds"],
        batch_size=fields.get("batch_size"),
    )


def _with_nan(value: Any) -> Any:
    """The same value with nan for null."""
    match value:
        case None:
            return math.nan
        case dict():
            return {name: _with_nan(item) for name, item in value.items()}
        case list():
            return [_with_nan(item) for item in value]
        case _:
            return value
