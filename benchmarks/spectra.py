"""Matrices of given singular values, and what polynomials of a Gram matrix make of those."""

from collections.abc import Sequence

import numpy as np


def of_spectrum(
    values: Sequence[float] | np.ndarray, shape: tuple[int, int], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix with these singular values, and its two bases, which are drawn."""
    u, v = (np.linalg.qr(random.normal(size=(n, len(values))))[0] for n in shape)
    return u * values @ v.T, u, v


def normed(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The singular values of a matrix after it is divided by its norm."""
    return np.asarray(values) / np.linalg.norm(values)


def singular_values(x: np.ndarray) -> np.ndarray:
    """From the largest to the smallest."""
    return np.linalg.svd(x, compute_uv=False)


def iterated(x: np.ndarray, polynomials: Sequence[Sequence[float]]) -> np.ndarray:
    """What rounds `x <- p(x x') x` make of a matrix, by its singular values.

    A polynomial has its constant first.
    """
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    for polynomial in polynomials:
        s = s * np.polyval(polynomial[::-1], s**2)
    return (u * s) @ vt
