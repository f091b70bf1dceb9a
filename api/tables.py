"""A curve of many points as a table of few: the knots of straight lines that stay close to it."""

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]


def knots(x: Curve, y: Curve, most: int, tolerance: float = 0.0) -> list[int]:
    """The places of at most `most` points, the first and the last among them, in order.

    The point that is farthest from the lines so far becomes the next knot, until none is farther
    than `tolerance`. `x` ascends.
    """
    chosen = [0, len(x) - 1]
    farthest = [_farthest(x, y, 0, len(x) - 1)]
    while len(chosen) < most:
        line = max(range(len(farthest)), key=lambda i: farthest[i][0])
        distance, place = farthest[line]
        if distance <= tolerance:
            break
        left, right = chosen[line], chosen[line + 1]
        chosen.insert(line + 1, place)
        farthest[line : line + 1] = [_farthest(x, y, left, place), _farthest(x, y, place, right)]
    return chosen


def _farthest(x: Curve, y: Curve, left: int, right: int) -> tuple[float, int]:
    """The point between two knots that is farthest from the line between them, and how far."""
    if right - left < 2:
        return -1.0, left
    inside = slice(left + 1, right)
    line = y[left] + (x[inside] - x[left]) * (y[right] - y[left]) / (x[right] - x[left])
    distances = np.abs(y[inside] - line)
    place = int(np.argmax(distances))
    return float(distances[place]), left + 1 + place
