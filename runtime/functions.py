"""The jitted functions of a program: each is made once, and kept for other processes if asked."""

import ast
from collections.abc import Callable, Mapping
from typing import Any

import jax

from .executables import Kept, Results, Warm
from .hyperparameters import Value
from .lifting import Lifting

_OURS = frozenset({"jax", "optax", "optc"})
"""Modules whose versions are known; any other is a caller's code."""


class Functions:
    """The jitted functions of one program, by name and by what is static in them.

    `source` is the text of its module where that is all that the program is made of.
    """

    def __init__(self, store: Kept | None = None, source: str = "") -> None:
        self._store = store
        self._source = source if source and _is_closed(source) else ""
        self._made: dict[Any, Callable[..., Any]] = {}

    @property
    def are_kept(self) -> bool:
        """Whether executables are kept for other processes."""
        return self._store is not None

    def jitted(
        self,
        function: Callable[..., Any],
        name: str,
        variant: tuple[Lifting, Mapping[str, Value]],
        *,
        static: int | None = None,
        donated: tuple[int, ...] = (),
        results: Results | None = None,
    ) -> Callable[..., Any]:
        """The function jitted, which is the same one for each name and variant.

        `static` is the position of a static argument. `results` says how results are built of a
        function in which no code of a caller has a part.
        """
        lifting, values = variant
        key = (name, lifting, *values.values())
        if key not in self._made:
            function.__name__ = name
            jitted = jax.jit(
                function,
                static_argnums=static,
                donate_argnums=donated,
                keep_unused=self.are_kept,
            )
            if self._store is None:
                self._made[key] = jitted
            else:
                is_known = self._source and lifting.mesh is None
                variant_of = (name, self._source, lifting.way, sorted(values.items()))
                self._made[key] = Warm(
                    jitted,
                    self._store,
                    static=static,
                    made_of=variant_of if is_known else None,
                    results=results,
                )
        return self._made[key]


def _is_closed(source: str) -> bool:
    """Whether a module imports nothing but what has a known version."""
    roots = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                roots |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module):
                roots.add((module or "").partition(".")[0])
    return roots <= _OURS
