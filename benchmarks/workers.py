"""Updates in processes of their own: XLA reads its options once in each.

A worker is told what to prepare by the name of a module of this package, a tree of weights, that of
an update and who makes it. The module has `update(name, who)`, and says in `SECONDS` how long a
sample is, and perhaps in `CALLS` how many calls of an update are timed together.

`python -m benchmarks.workers` is a worker: it answers each line of JSON with one.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib import import_module
from typing import Any, Protocol

import jax

from optc.runtime.multi_output import with_option

from .elsewhere import running
from .interleave import Seconds, Variant
from .updates import TREES, Counts, Tree, compiling, counted, gradients, stepping


class Answering(Protocol):
    """What answers a line with a line."""

    def asked(self, line: str) -> str:
        """The answer."""


class Worker:
    """A process with updates that are ready."""

    def __init__(self, process: Answering) -> None:
        self._process = process

    def counted(self, module: str, tree: str, name: str, who: str) -> Counts:
        """What XLA counts of an update there."""
        return Counts(**self._asked("counted", module, tree, name, who))

    def stepping(self, module: str, tree: str, name: str, who: str) -> Variant:
        """A sample of its steps."""
        self._asked("prepare", module, tree, name, who)
        return lambda: _seconds(self._asked("step", module, tree, name, who))

    def compiling(self, module: str, tree: str, name: str, who: str) -> Variant:
        """A sample of tracing, lowering and compiling it."""
        return lambda: _seconds(self._asked("compile", module, tree, name, who))

    def forget(self) -> None:
        """Give the memory of all updates back."""
        self._asked("forget")

    def _asked(self, *words: str) -> Any:
        return json.loads(self._process.asked(json.dumps(words)))


def _seconds(answer: list[float]) -> Seconds:
    return tuple(answer)


@contextmanager
def worker(*, multi_output: bool = False) -> Iterator[Worker]:
    """A worker that lives until the block ends, whose XLA may make kernels of several results."""
    flags = os.environ.get("XLA_FLAGS", "")
    more = {"XLA_FLAGS": with_option(flags)} if multi_output else {}
    with running([sys.executable, "-m", "benchmarks.workers"], more) as process:
        yield Worker(process)


def here() -> Worker:
    """This process as a worker: for devices that no two processes may hold."""
    return Worker(_Updates())


class _Updates:
    """The updates of this process."""

    def __init__(self) -> None:
        self._ready: dict[tuple[str, ...], Variant] = {}

    def asked(self, line: str) -> str:
        """The answer to a line of JSON; null where it only told to do something."""
        return json.dumps(self._answer(*json.loads(line)))

    def _answer(self, word: str, *update: str) -> Any:
        match word:
            case "counted":
                return asdict(counted(*_made(*update)))
            case "prepare":
                self._prepare(update)
            case "step":
                return self._ready[update]()
            case "compile":
                return compiling(*_made(*update))()
            case "forget":
                self._ready.clear()
                _grads.cache_clear()
                jax.clear_caches()
        return None

    def _prepare(self, update: tuple[str, ...]) -> None:
        module = import_module(f".{update[0]}", __package__)
        optimizer, shapes = _made(*update)
        calls = getattr(module, "CALLS", {}).get(update[2], 1)
        grads = _grads(update[1])
        self._ready[update] = stepping(optimizer, shapes, grads, module.SECONDS, calls)


def _made(module: str, tree: str, name: str, who: str) -> tuple[Any, Tree]:
    found = import_module(f".{module}", __package__)
    return found.update(name, who), TREES[tree]()


@cache
def _grads(tree: str) -> Tree:
    return gradients(TREES[tree]())


def main() -> None:
    """Answer until there is nothing more to read."""
    updates = _Updates()
    for line in sys.stdin:
        print(updates.asked(line), flush=True)


if __name__ == "__main__":
    main()
