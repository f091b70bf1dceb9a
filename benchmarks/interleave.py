"""Comparing variants on a machine that others use too: interleaved, and only by ratios.

Variants run A B C ... C B A. A sample is dropped when other processes had more than 6 % of the
processors that this one may use (`taskset` can say which); where that leaves too few, the quieter
half is kept and the table says so.
"""

import gc
import math
import os
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

Seconds: TypeAlias = tuple[float, ...]
"""How long a sample took, in parts that add up; one part where there is nothing to tell apart."""

Variant: TypeAlias = Callable[[], Seconds]
"""Takes one sample."""

companions: set[int] = set()
"""Processes that work for a variant: what they use of the machine is not foreign."""

_FOREIGN = 0.06
_FEWEST = 5
_LONGEST = 2
"""At most so many times the rounds asked for, to replace dropped samples."""


@dataclass(frozen=True)
class Timing:
    """The samples of one variant that count."""

    name: str
    samples: tuple[Seconds, ...]
    taken: int
    quiet: bool

    @property
    def median(self) -> float:
        """In seconds."""
        return median(map(sum, self.samples))

    @property
    def minimum(self) -> float:
        """In seconds."""
        return min(map(sum, self.samples))

    @property
    def parts(self) -> Seconds:
        """The median of each part, in seconds."""
        return tuple(median(part) for part in zip(*self.samples, strict=True))


def interleave(variants: Mapping[str, Variant], rounds: int = 9) -> dict[str, Timing]:
    """The timings of some variants, each sampled once in each round, every other one backwards."""
    samples: dict[str, list[tuple[float, Seconds]]] = {name: [] for name in variants}
    collecting = gc.isenabled()
    gc.disable()
    for round in range(_LONGEST * rounds):
        names = list(variants) if round % 2 == 0 else list(reversed(variants))
        for name in names:
            gc.collect()
            before = _Clock()
            sample = variants[name]()
            samples[name].append((before.foreign(), sample))
        if round + 1 >= rounds and all(_clean(s) >= rounds for s in samples.values()):
            break
    if collecting:
        gc.enable()
    return {name: _timing(name, taken, rounds) for name, taken in samples.items()}


def repeated(
    function: Callable[[], object],
    finish: Callable[[object], object] = lambda last: last,
    seconds: float = 0.15,
) -> Variant:
    """A variant that calls a function until a sample is long enough; it has been called before.

    `finish` waits for the last result, where calls return before their work is done.
    """
    finish(function())
    repeats = 1
    while _of(function, finish, repeats) < seconds / 4:
        repeats *= 4
    needed = seconds / _of(function, finish, repeats)
    repeats = max(1, math.ceil(repeats * needed))
    return lambda: (_of(function, finish, repeats) / repeats,)


def report(timings: Mapping[str, Timing], against: str, parts: tuple[str, ...] = ()) -> None:
    """Print medians and minima in milliseconds, and their ratios to those of one variant."""
    base = timings[against]
    width = max(map(len, timings))
    heads = "".join(f"{part:>10}" for part in parts)
    print(f"  {'':{width}}{'median ms':>11}{'ratio':>7}{'min ms':>11}{'ratio':>7}{heads}  samples")
    for name, timing in timings.items():
        columns = "".join(f"{1e3 * part:10.1f}" for part in timing.parts) if parts else ""
        kept = f"{len(timing.samples)} of {timing.taken}" + ("" if timing.quiet else ", not quiet")
        print(
            f"  {name:{width}}"
            f"{1e3 * timing.median:11.2f}{timing.median / base.median:7.2f}"
            f"{1e3 * timing.minimum:11.2f}{timing.minimum / base.minimum:7.2f}{columns}  {kept}"
        )


def held(what: str, found: float, goal: float) -> None:
    """Print a figure beside the one that it is held against."""
    print(f"  -> {what}: {found:.2f}, held against at most {goal:.2f}")


class _Clock:
    """A moment, and how much of its processors other processes have had since."""

    def __init__(self) -> None:
        self._busy, self._own, self._wall = _busy(), _own(), time.perf_counter()

    def foreign(self) -> float:
        """A share of the processors; 0 where the system does not tell."""
        wall = (time.perf_counter() - self._wall) * len(_processors())
        return max(0.0, (_busy() - self._busy) - (_own() - self._own)) / wall


def _busy() -> float:
    """Seconds for which the processors have worked."""
    try:
        with open("/proc/stat") as file:
            lines = [line.split() for line in file if line.startswith("cpu")]
    except OSError:
        return 0.0
    ours = {f"cpu{number}" for number in _processors()}
    return sum(_worked(*map(int, times)) for name, *times in lines if name in ours)


def _worked(user: int, nice: int, system: int, idle: int, waiting: int, *others: int) -> float:
    """Seconds of a line of `/proc/stat`; the first three of the others are work too."""
    return (user + nice + system + sum(others[:3])) / os.sysconf("SC_CLK_TCK")


def _processors() -> Set[int]:
    """The numbers of those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _own() -> float:
    times = os.times()
    ended = times.children_user + times.children_system
    return times.user + times.system + ended + sum(map(_used, companions))


def _used(process: int) -> float:
    """Seconds for which processors have worked for a process that has not ended."""
    with open(f"/proc/{process}/stat") as file:
        _, _, after_name = file.read().rpartition(")")
    user, system = after_name.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _of(function: Callable[[], object], finish: Callable[[object], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        last = function()
    finish(last)
    return time.perf_counter() - start


def _clean(samples: list[tuple[float, Seconds]]) -> int:
    return sum(foreign <= _FOREIGN for foreign, _ in samples)


def _timing(name: str, taken: list[tuple[float, Seconds]], rounds: int) -> Timing:
    quiet = _clean(taken) >= min(_FEWEST, rounds)
    kept = sorted(taken)[: _clean(taken) if quiet else math.ceil(len(taken) / 2)]
    return Timing(name, tuple(sample for _, sample in kept), len(taken), quiet)
