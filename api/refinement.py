"""Schedules from gradient norms: what a finished run says about the rates of the next one.

Source: arXiv:2310.07831, in the form of its released code; the bound is Theorem 10 there.
"""

from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

Rates = NDArray[np.float64]


def refine(norms: ArrayLike, power: Literal[1, 2] = 2, smoothing: float = 0.1) -> Rates:
    """The refined schedule of a run with these gradient norms, its largest rate 1.

    `norms` are those of the raw gradient, one for each step of a finished run: L2 norms with
    `power` 2 for SGD, L1 norms with `power` 1 for Adam and its kind. `smoothing` is the part of
    the run over which a running median is taken first. The last rate is 0. A norm of zero
    counts as the smallest that is not.

    >>> refine([2, 1, 1, 1, 1], smoothing=0.0).round(3)
    array([0.333, 1.   , 0.667, 0.333, 0.   ])
    """
    given = np.asarray(norms, np.float64)
    if given.ndim != 1 or len(given) < 2:
        raise ValueError("`norms` is one number for each step, of two steps at least")
    if not np.isfinite(given).all() or (given < 0).any() or not (given > 0).any():
        raise ValueError("`norms` are finite, none is negative, and one is above zero")
    if power not in (1, 2):
        raise ValueError("`power` is 1 or 2")
    if not 0 <= smoothing <= 1:
        raise ValueError("`smoothing` is a part of the run, from 0 to 1")
    smooth = _smoothed(given, smoothing)
    positive = smooth[smooth > 0]
    floor = positive.min() if len(positive) else given[given > 0].min()
    smooth = np.maximum(smooth, floor)
    # Only ratios matter, and those of norms as large as 1e200 must not overflow.
    weights = (smooth / floor) ** -float(power)
    # The weights of later steps alone: with its own, the last rate would not be 0.
    later = np.append(np.cumsum(weights[:0:-1])[::-1], 0.0)
    rates = weights * later
    refined: Rates = rates / rates.max()
    return refined


def bound(rates: ArrayLike, norms: ArrayLike = 1.0, distance: float = 1.0) -> float:
    """How far above the minimum the last iterate of SGD may end, at the best multiple of `rates`.

    For a convex loss whose gradients have these L2 `norms` (one for all steps, or one for each),
    from weights at this `distance` of the minimiser. It scores the shape of a schedule: a
    multiple of `rates` has the same bound, that of `best_multiple`.
    """
    start, noise = _terms(rates, norms, distance)
    return 2 * sqrt(start * noise)


def best_multiple(rates: ArrayLike, norms: ArrayLike = 1.0, distance: float = 1.0) -> float:
    """The factor of `rates` at which `bound` holds: sqrt(T1 / (T2 + T3))."""
    start, noise = _terms(rates, norms, distance)
    return sqrt(start / noise)


def _smoothed(norms: Rates, smoothing: float) -> Rates:
    """The running median: the first value goes on to the left, a mirror image to the right."""
    width = 2 * (int(smoothing * len(norms)) // 2) + 1
    mirrored = np.pad(norms, (0, 2 * width), mode="reflect")
    smooth: Rates = median_filter(mirrored, size=width, mode="nearest")[: len(norms)]
    return smooth


def _terms(rates: ArrayLike, norms: ArrayLike, distance: float) -> tuple[float, float]:
    """D^2 / 2S, which falls with the rates, and the two terms that grow with them."""
    eta = np.asarray(rates, np.float64)
    if eta.ndim != 1 or not (eta > 0).any() or (eta < 0).any() or not np.isfinite(eta).all():
        raise ValueError("`rates` are finite, none is negative, and one is above zero")
    steps = np.broadcast_to(np.asarray(norms, np.float64), eta.shape)
    # Steps of rate zero at the end leave the weights where they are.
    last = int(np.flatnonzero(eta)[-1]) + 1
    eta, squares = eta[:last], (eta * steps)[:last] ** 2
    left = np.cumsum(eta[::-1])[::-1]
    noise = np.cumsum(squares[::-1])[::-1]
    total = left[0]
    later = 0.5 * np.sum(eta[:-1] / left[1:] * noise[:-1] / left[:-1])
    return distance**2 / (2 * total), float(noise[0] / (2 * total) + later)
