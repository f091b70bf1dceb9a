"""What is done with a history of fields, in NumPy float64: the meaning of the ops `HISTORIES`.

The matrices are applied as they are written, by dense algebra in as many dimensions as there are
fields, and one pair after the other. The printed programs share none of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Fields = list[Any]


@dataclass(frozen=True)
class History:
    """The last fields that were pushed, the oldest first, at most `size`; each is a list."""

    size: int
    fields: tuple[Fields, ...] = ()


def push(old: History, field: Fields) -> History:
    """The history with one more field; the oldest is forgotten where there is no place."""
    return replace(old, fields=(*old.fields, field)[-old.size :])


def inverse_fisher(gradients: History, x: Fields, damping: float) -> Fields:
    """(damping I + 1/n sum_i g_i g_i')^-1 x, where n counts the places, empty ones too.

    By Woodbury's identity (M-FAC, arXiv:2107.03356); with no damping where x lies in the span.
    """
    if not gradients.fields:
        return [None if each is None else each / damping for each in x]
    rows = np.stack([_flat(each) for each in gradients.fields])
    small = gradients.size * damping * np.eye(len(rows)) + rows @ rows.T
    found = (_flat(x) - rows.T @ np.linalg.solve(small, rows @ _flat(x))) / damping
    return _like(x, found)


def inverse_hessian(steps: History, changes: History, x: Fields, scale: float) -> Fields:
    """H x with H = V_k'...(V_1' scale V_1)...V_k + ..., the BFGS inverse of the last pairs.

    A pair of a step s and the change y of the gradient makes H into V' H V + s s' / s'y, with
    V = I - y s' / s'y (Nocedal 1980); one with s'y = 0 is left out.
    """
    vector = _flat(x)
    pairs = [(_flat(s), _flat(y)) for s, y in zip(steps.fields, changes.fields, strict=True)]
    return _like(x, _times(pairs, vector, scale))


def _times(pairs: Sequence[tuple[Array, Array]], x: Array, scale: float) -> Array:
    if not pairs:
        return scale * x
    *older, (s, y) = pairs
    if s @ y == 0:
        return _times(older, x, scale)
    part = s @ x / (s @ y)
    found = _times(older, x - part * y, scale)
    return np.asarray(found - s * (y @ found) / (s @ y) + part * s)


def _flat(field: Fields) -> Array:
    present = [np.ravel(x) for x in field if x is not None]
    return np.concatenate(present) if present else np.zeros(0)


def _like(field: Fields, vector: Array) -> Fields:
    found: Fields = []
    start = 0
    for x in field:
        end = start + (0 if x is None else np.size(x))
        found.append(None if x is None else np.reshape(vector[start:end], np.shape(x)))
        start = end
    return found
