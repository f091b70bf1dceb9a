"""Which elements of two lists belong together: in order, and then those that moved."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Pair = tuple[int | None, int | None]
"""Places in the first and in the second list; None where an element has no counterpart."""

_T = TypeVar("_T")

_LARGEST = 1_000_000
"""Above so many comparisons, elements are only matched from both ends."""


def align(old: Sequence[_T], new: Sequence[_T], alike: Callable[[_T, _T], int]) -> list[Pair]:
    """The pairs of largest total likeness that keep the order of both lists, in that order.

    `alike` is 0 for elements that are never paired. What has no counterpart stands where it
    stood, what is only in `old` first. The longest common subsequence is the case of likeness 0
    or 1.
    """
    most = max((alike(a, a) for a in (*old, *new)), default=0)
    first = 0
    while first < min(len(old), len(new)) and alike(old[first], new[first]) >= most:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and alike(old[-1 - last], new[-1 - last]) >= most:
        last += 1
    ends = len(old) - last, len(new) - last
    middle = _middle(old[first : ends[0]], new[first : ends[1]], alike)
    return [
        *((i, i) for i in range(first)),
        *((a if a is None else a + first, b if b is None else b + first) for a, b in middle),
        *((ends[0] + i, ends[1] + i) for i in range(last)),
    ]


def _middle(old: Sequence[_T], new: Sequence[_T], alike: Callable[[_T, _T], int]) -> list[Pair]:
    rows, columns = len(old), len(new)
    if rows * columns > _LARGEST:
        return [*((i, None) for i in range(rows)), *((None, i) for i in range(columns))]
    # best[i][j]: the total likeness of what follows place i of `old` and place j of `new`.
    best = [[0] * (columns + 1) for _ in range(rows + 1)]
    likeness = [[alike(a, b) for b in new] for a in old]
    for i in reversed(range(rows)):
        for j in reversed(range(columns)):
            paired = likeness[i][j] + best[i + 1][j + 1] if likeness[i][j] else 0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs: list[Pair] = []
    i = j = 0
    while i < rows and j < columns:
        if likeness[i][j] and best[i][j] == likeness[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    pairs += [(k, None) for k in range(i, rows)]
    pairs += [(None, k) for k in range(j, columns)]
    return pairs
