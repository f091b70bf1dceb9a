"""The lengths of the axes of a new matrix, as the attribute `lengths` of a node has them."""

from collections.abc import Iterator, Sequence
from typing import Any

from .types import Dim


def worked_out(text: str, like: Sequence[int], given: Sequence[Any]) -> tuple[int, ...]:
    """The axes of a tensor of shape `like` before its last two, and then those that `text` says.

    `given` are the named ones, in order.
    """
    named = iter(given)
    own = (_length(dim, like, named) for dim in parsed(text))
    return (*like[:-2], *own)


def parsed(text: str) -> tuple[Dim, ...]:
    """The lengths that `text` says."""
    return tuple(int(word) if word.lstrip("-").isdigit() else word for word in text.split())


def _length(dim: Dim, like: Sequence[int], named: Iterator[Any]) -> int:
    if isinstance(dim, str):
        return int(next(named))
    return int(like[dim]) if dim < 0 else dim
