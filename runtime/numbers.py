"""Numbers that kernels read, for each large tensor in buffers of its own.

Where XLA on CPU makes kernels of several results, it also makes one of the kernels of several
tensors, if they have one shape and read one array, were it a number. Memory is slow at so many
streams at once: updates of large tensors take up to one and a half times as long. So each of them
is given its numbers as two vectors that no other kernel reads. Small tensors share theirs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .copies import MOST

LARGE = 8192
"""From how many elements on a tensor is read by a kernel of its own."""


@dataclass(frozen=True)
class Numbers:
    """Which arguments of a function of one tensor are numbers that are worked out by a step."""

    floats: tuple[int, ...]
    others: tuple[tuple[int, Any], ...]
    """Whole numbers and bools, with their dtypes."""

    def __bool__(self) -> bool:
        return bool(self.floats or self.others)

    @classmethod
    def among(cls, args: Sequence[Any]) -> "Numbers":
        """Those among the arguments of a lifted call."""
        numbers = [(i, x.dtype) for i, x in enumerate(args) if _is_number(x)]
        floats = [i for i, dtype in numbers if jnp.issubdtype(dtype, jnp.floating)]
        return cls(tuple(floats), tuple(each for each in numbers if each[0] not in floats))

    def are_better_apart(self, tensors: int) -> bool:
        """Whether a kernel of so many tensors, read or made, is better off with its own numbers.

        So it is where two such kernels would be put together, and where all numbers one by one
        would be too many for one. Else nothing is gained, and what reduces would be given each
        number as a tensor of its own.
        """
        numbers = 1 + len(self.floats) + len(self.others)
        return 2 * tensors <= MOST or tensors + numbers > MOST

    def without(self, row: Sequence[Any]) -> list[Any]:
        """Arguments of the function but for the numbers."""
        taken = {*self.floats, *(i for i, _ in self.others)}
        return [None if i in taken else x for i, x in enumerate(row)]

    def copies(
        self, count: jax.Array, args: Sequence[Any], times: int
    ) -> Sequence[tuple[jax.Array, ...]]:
        """So many copies of the numbers, that XLA takes for different ones: two vectors each.

        The first has the `count` of steps and what is no float, the second the floats, if any.
        They come out of a choice, whose branches are equal but where `count` is what no run
        reaches.
        """
        whole = [count, *(args[i] for i, _ in self.others)]
        vectors = [jnp.stack([x.astype(jnp.result_type(int)) for x in whole])]
        if self.floats:
            vectors.append(jnp.stack([args[i] for i in self.floats]))
        found: Sequence[tuple[jax.Array, ...]] = lax.cond(
            count == np.iinfo(count.dtype).min,
            lambda vectors: [tuple(x + k for x in vectors) for k in range(1, times + 1)],
            lambda vectors: [vectors] * times,
            tuple(vectors),
        )
        return found

    def given_to(self, fn: Callable[..., Any], counted: bool) -> Callable[..., Any]:
        """The same function, with the vectors before its other arguments.

        With `counted` the count is its first argument.
        """

        @wraps(fn)
        def run(whole: jax.Array, *args: Any) -> Any:
            row = list(args)
            floats = row.pop(0) if self.floats else ()
            for k, (i, dtype) in enumerate(self.others, 1):
                row[i] = whole[k].astype(dtype)
            for k, i in enumerate(self.floats):
                row[i] = floats[k]
            return fn(whole[0], *row) if counted else fn(*row)

        return run


def _is_number(x: Any) -> bool:
    if not isinstance(x, jax.Array) or x.ndim:
        return False
    return any(jnp.issubdtype(x.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))
