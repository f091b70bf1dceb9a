"""What a run shows while it goes on: a bar on a terminal, a line for each evaluation elsewhere."""

import math
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..output import note
from .metrics import Entry


class _Speed(ProgressColumn):
    """Steps per second of late."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g} steps/s" if task.speed else "")


class Bar:
    """A context that shows each entry of a run on standard error."""

    def __init__(self, steps: int, done: int) -> None:
        self._steps = steps
        self._held_out = math.nan
        self._progress = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            _Speed(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._row = self._progress.add_task("", total=steps, completed=done, numbers="compiling")

    def show(self, entry: Entry) -> None:
        """Show the newest numbers."""
        self._held_out = entry.evaluation.get("loss", self._held_out)
        if not self._progress.disable:
            # Short, so that a line of 80 characters holds it.
            text = f"loss {entry.loss:.4g}, eval {self._held_out:.4g}"
            self._progress.update(self._row, completed=entry.step, numbers=text)
        elif entry.evaluation:
            text = numbers(entry.loss, entry.evaluation)
            note(f"step {entry.step}/{self._steps}  {text}  {entry.seconds:.1f} s")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


def numbers(loss: float, evaluation: Mapping[str, float]) -> str:
    """Such as `loss 0.3182; evaluation loss 0.3425, accuracy 0.91`."""
    measured = ", ".join(f"{name} {value:.4g}" for name, value in evaluation.items())
    return f"loss {loss:.4g}" + (f"; evaluation {measured}" if measured else "")
