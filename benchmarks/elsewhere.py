"""Steps that run in another process, and are timed from here.

The process answers each line that it reads with one. It counts as a companion, so no sample is
dropped because of it.
"""

import math
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

from .interleave import Variant, companions


class Elsewhere:
    """A process that does steps when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def steps(self, count: int) -> tuple[float, ...]:
        """Do so many steps: how many seconds each took."""
        return tuple(map(float, self.asked(str(count)).split()))

    def stepping(self, seconds: float = 0.15) -> Variant:
        """Samples of so many steps that one lasts about `seconds`."""
        repeats = max(1, math.ceil(seconds / min(self.steps(3))))
        return lambda: (mean(self.steps(repeats)),)

    def asked(self, line: str) -> str:
        """What the process answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._process.args!r} has ended")
        return answer


@contextmanager
def elsewhere(interpreter: str, script: str, *arguments: str) -> Iterator[Elsewhere]:
    """A script of this folder, running until the block ends.

    For each line, a number of steps, it prints how many seconds each took, or their mean.
    """
    with running([interpreter, str(Path(__file__).parent / script), *arguments], {}) as process:
        yield process


@contextmanager
def running(command: Sequence[str], more: Mapping[str, str]) -> Iterator[Elsewhere]:
    """A command that runs until the block ends, with more in its environment."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | dict(more),
    ) as process:
        companions.add(process.pid)
        yield Elsewhere(process)
        companions.remove(process.pid)
        assert process.stdin is not None
        process.stdin.close()
