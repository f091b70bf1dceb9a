"""What spectral ops mean, in NumPy float64: algorithms on an operator that acts on fields.

They are written for clarity, from the papers and not from the library that programs use.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Fields: TypeAlias = list[Any]
Operator: TypeAlias = Callable[[Fields], Fields]
Function: TypeAlias = Callable[[Any], Any]
Array: TypeAlias = NDArray[np.float64]

EXHAUSTED = 1e-8
"""A direction that is left with less than this part of the operator's size is rounding."""


def lanczos(operator: Operator, start: Fields, steps: int) -> Array:
    """The nodes and weights of the Gauss quadrature that a start sees of a spectrum.

    Nodes beyond those that the start can see have the weight 0 and lie among the others.
    """
    (nodes, vectors), _, _ = _decomposed(operator, start, steps)
    more = np.zeros(steps - len(nodes))
    found = np.stack([np.append(nodes, more + nodes[0]), np.append(vectors[0] ** 2, more)])
    return np.asarray(found[:, np.argsort(found[0], kind="stable")])


def matrix_function(operator: Operator, function: Function, start: Fields, steps: int) -> Fields:
    """A function of the operator, times `start`, on the space that the iteration spans."""
    (nodes, vectors), basis, length = _decomposed(operator, start, steps)
    shares = [x * function(node) if x else 0.0 for x, node in zip(vectors[0], nodes, strict=True)]
    return _like(start, length * (vectors @ shares) @ basis)


def _decomposed(operator: Operator, start: Fields, steps: int) -> tuple[Any, Array, float]:
    """Nodes and their vectors in Lanczos' basis, that basis as rows, and the start's length."""
    vector = _flat(start)
    length = float(np.linalg.norm(vector))
    basis = [vector / length if length > 0 else vector]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, len(vector))):
        product = _flat(operator(_like(start, basis[-1])))
        diagonal.append(float(basis[-1] @ product))
        for _ in range(2):
            for known in basis:
                product = product - (known @ product) * known
        rest = float(np.linalg.norm(product))
        if rest <= EXHAUSTED * max(map(abs, (*diagonal, *beside))):
            break
        beside.append(rest)
        basis.append(product / rest)
    size = len(diagonal)
    inside = np.array(beside[: size - 1])
    seen = np.linalg.eigh(np.diag(diagonal) + np.diag(inside, 1) + np.diag(inside, -1))
    return seen, np.stack(basis[:size]), length


def hutchinson(operator: Operator, samples: Sequence[Fields]) -> float:
    """The mean of z'Az over the samples z."""
    return float(np.mean([_flat(z) @ _flat(operator(z)) for z in samples]))


def xtrace(operator: Operator, samples: Sequence[Fields]) -> float:
    """XTrace (arXiv:2301.07825): each sample corrects the trace on the range of the others.

    With as many samples as numbers or more, it is the trace itself.
    """
    tests = np.stack([_flat(z) for z in samples], axis=1)

    def applied(columns: Array) -> Array:
        products = [_flat(operator(_like(samples[0], column))) for column in columns.T]
        return np.stack(products, axis=1)

    size, count = tests.shape
    if 2 * count >= size:
        return float(np.trace(applied(np.eye(size))))
    images, found = applied(tests), []
    for place in range(count):
        others = np.delete(images, place, axis=1)
        q = np.linalg.qr(others)[0] if count > 1 else np.zeros((size, 0))
        rest = tests[:, place] - q @ (q.T @ tests[:, place])
        # Scaled as a vector on the sphere of the complement, which lowers the variance.
        found.append((q, rest))
    estimates = [
        (np.trace(q.T @ applied(q)) if q.size else 0.0)
        + (size - q.shape[1]) / (rest @ rest) * (rest @ applied(rest[:, None])[:, 0])
        for q, rest in found
    ]
    return float(np.mean(estimates))


def alignment(
    found: tuple[Array, tuple[int, ...]] | None, x: Array, power: float, pearson: bool
) -> Array:
    """The cosine of x'x and (x'Kx)^power, less their means with `pearson`.

    NaN where x is no layer's matrix, or zero.
    """
    one = (1,) * np.ndim(x)
    if found is None or not np.any(x):
        return np.full(one, np.nan)
    moment, units = found
    matrix = np.moveaxis(x, units, range(len(units))).reshape(len(moment), -1)
    weights = matrix.T @ matrix
    values, vectors = np.linalg.eigh(matrix.T @ moment @ matrix)
    outputs = vectors @ np.diag(np.maximum(values, 0) ** power) @ vectors.T
    if pearson:
        weights, outputs = weights - weights.mean(), outputs - outputs.mean()
    with np.errstate(invalid="ignore"):
        cosine = np.sum(weights * outputs) / (np.linalg.norm(weights) * np.linalg.norm(outputs))
    return np.full(one, cosine)


def _flat(fields: Fields) -> Array:
    return np.concatenate([np.ravel(x) for x in fields if x is not None])


def _like(fields: Fields, vector: Array) -> Fields:
    """A vector as a field of the shapes of another."""
    found: Fields = []
    place = 0
    for x in fields:
        size = np.size(x) if x is not None else 0
        found.append(None if x is None else np.reshape(vector[place : place + size], np.shape(x)))
        place += size
    return found
