"""Steps that run in another process, by another interpreter or with other options, timed from here.

For each line that it reads the script does as many steps as the line says, and prints how many
seconds each took. It counts as a companion, so no sample is dropped because of it.
"""

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

from optc.runtime.multi_output import with_option

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
    """A script of this folder, running until the block ends."""
    with _running([interpreter, str(Path(__file__).parent / script), *arguments], {}) as process:
        yield process


@contextmanager
def worker(*arguments: str, multi_output: bool = False) -> Iterator[Elsewhere]:
    """A process of `worker.py`, whose XLA may make kernels of several results."""
    flags = os.environ.get("XLA_FLAGS", "")
    more = {"XLA_FLAGS": with_option(flags)} if multi_output else {}
    with _running([sys.executable, "-m", "benchmarks.worker", *arguments], more) as process:
        yield process


@contextmanager
def _running(command: list[str], more: Mapping[str, str]) -> Iterator[Elsewhere]:
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
