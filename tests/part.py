"""Which optimizers of the library CI takes where each one is dear, and all of them are many.

Those that between them have every op of the library, chosen greedily, and each fortieth of the
others. `pytest --all` takes every one.
"""

from functools import cache

import pytest

from optc.compiler import library
from optc.compiler.driver import compile_spec
from optc.compiler.graph import walk
from optc.compiler.locate import find

OPTIMIZERS = library.names("optimizer")
STRIDE = 40


@cache
def part() -> frozenset[str]:
    """The names that CI takes."""
    ops = {name: operations(name) for name in OPTIMIZERS}
    missing = frozenset().union(*ops.values())
    chosen: set[str] = set()
    while missing:
        # The one that has most of what is missing, and of those the one with the least besides.
        best = max(OPTIMIZERS, key=lambda name: (len(ops[name] & missing), -len(ops[name])))
        chosen.add(best)
        missing -= ops[best]
    others = [name for name in OPTIMIZERS if name not in chosen]
    return frozenset(chosen) | frozenset(others[::STRIDE])


@cache
def operations(name: str) -> frozenset[str]:
    """The ops of a step."""
    graph = compile_spec(find(name)).graph
    return frozenset(node.op for node in walk(graph.step))


def optimizers():
    """The names of the library as parameters of a test: CI runs `part`, `--all` the rest too."""
    return [
        name if name in part() else pytest.param(name, marks=pytest.mark.rest)
        for name in OPTIMIZERS
    ]
