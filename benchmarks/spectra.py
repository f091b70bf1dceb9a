"""Matrices of given singular values, and what polynomials of a Gram matrix make of those."""

from collections.abc import Sequence

import numpy as np

POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
"""The quintics of Polar Express: what is equal from the eighth on is Newton and Schulz's."""


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
