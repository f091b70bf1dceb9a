"""Answers without a model: what a step asks is given to it, and what it asks about is a result.

So a step compiles with all the work that is its own, and none that is the objective's.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from ..runtime.field import Field, cast, widen
from ..runtime.tree import Tree

Tensors = tuple[jax.Array, ...]


class Answers:
    """The answers to a step's questions, in the order in which it asks.

    `asked_by` has for each oracle the stage and the line that ask it.
    `known` are the answers, which are zeros in a first trace that only learns what is asked: then
    `given` has them. `asked` has the tensors that the questions are about, but for those that are
    arguments of the step, `free`.
    """

    def __init__(
        self,
        asked_by: Mapping[str, str],
        free: Sequence[Any],
        known: Sequence[Any] | None = None,
    ) -> None:
        self._asked_by = asked_by
        self.given: list[Any] = []
        self.asked: list[Tensors] = []
        self._free = {id(x) for x in free}
        self._trace = _trace()
        self._known = None if known is None else iter(known)

    def __call__(self, point: Field, wanted: frozenset[str]) -> dict[str, Any]:
        """What is wanted at a point. Raises ValueError for what only a model can say."""
        known: Mapping[str, Callable[[Tree], Any]] = {
            "loss": lambda tree: self._number(),
            "grad": self._field,
            "hvp": lambda tree: partial(self._product, "hvp"),
            "ggn": lambda tree: partial(self._product, "ggn"),
            "curvature": lambda tree: partial(self._form, "curvature"),
            "ggn_curvature": lambda tree: partial(self._form, "ggn_curvature"),
        }
        if others := sorted(wanted - known.keys()):
            raise ValueError(f"{self._asks_for(others[0])}, which only a model answers")
        self._ask(min(wanted), point)
        return {name: known[name](point.tree) for name in sorted(wanted)}

    def _product(self, name: str, v: Field) -> Field:
        self._ask(name, v)
        return self._field(v.tree)

    def _form(self, name: str, v: Field) -> jax.Array:
        self._ask(name, v)
        return self._number()

    def _asks_for(self, name: str) -> str:
        return f"{self._asked_by.get(name, 'it')} asks for `{name}`"

    def _ask(self, name: str, about: Field) -> None:
        if _trace() != self._trace:
            # What is asked about there is no value of the step, so it cannot be a result.
            asks = self._asks_for(name)
            raise ValueError(f"{asks} in a loop or a choice, which only a model answers")
        pairs = zip(about.members, about.tree.leaves, strict=True)
        tensors = (cast(x, leaf.dtype) for x, leaf in pairs if x is not None)
        self.asked.append(tuple(x for x in tensors if id(x) not in self._free))

    def _field(self, tree: Tree) -> Field:
        zeros = tuple(jnp.zeros(leaf.shape, leaf.dtype) for leaf in tree.leaves)
        return Field.of([widen(x) for x in self._next(zeros)], tree)

    def _number(self) -> jax.Array:
        number: jax.Array = self._next(jnp.zeros(()))
        return number

    def _next(self, unknown: Any) -> Any:
        answer = unknown if self._known is None else next(self._known)
        self.given.append(answer)
        return answer


def _trace() -> object:
    """The function that is being traced, to be compared."""
    return get_opaque_trace_state(convention="optc")  # type: ignore[no-untyped-call]  # jax has none


def nbytes(trees: Any) -> int:
    """The bytes of all arrays."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(trees))
