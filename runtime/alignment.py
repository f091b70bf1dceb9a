"""How a model's outputs depend on what comes of its layers' products, and what agrees with it.

A model is traced for one example, and each product of a weight with the layer's input gets a tap:
zeros that are added to the result, so that a derivative along a tap is one along what the layer
hands on. Weights of which no product is found have no layer, nor has one that is multiplied from
two sides.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from . import lapack
from .field import Field, Tensor, scalar_dtype
from .layers import Tap, adding, noting, run

Model: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""The outputs of a model for one example, by the tensors of its weights."""


@dataclass(frozen=True, slots=True)
class Covariance:
    """The second moment of the outputs' derivative in what a layer hands on, for each tensor.

    `units` are the axes of a weight that are units, in the order in which the moment has them.
    """

    moments: tuple[jax.Array | None, ...]
    units: tuple[tuple[int, ...], ...]


jax.tree_util.register_dataclass(Covariance, ["moments"], ["units"])


def covariance(
    model: Model, weights: tuple[jax.Array, ...], key: jax.Array, samples: int
) -> Covariance:
    """For one example, the sum over outputs, and the mean over the places of a sequence or image.

    Of more outputs than `samples`, so many sums with random signs stand for all of them.
    """
    closed = jax.make_jaxpr(model)(weights)
    taps: list[Tap] = []
    jax.eval_shape(lambda: run(closed, weights, noting(taps)))
    zeros = [jnp.zeros(tap.shape, tap.dtype) for tap in taps]

    def tapped(added: list[jax.Array]) -> jax.Array:
        outputs = run(closed, weights, adding(added))
        return jnp.concatenate([jnp.ravel(x) for x in outputs])

    outputs, pull = jax.vjp(tapped, zeros)
    count = outputs.size
    directions = jnp.eye(count, dtype=outputs.dtype)
    if count > samples:
        drawn = jax.random.rademacher(key, (samples, count), outputs.dtype)
        directions = drawn / jnp.sqrt(jnp.asarray(samples, outputs.dtype))
    (derivatives,) = jax.vmap(pull)(directions)
    found: list[dict[tuple[int, ...], jax.Array]] = [{} for _ in weights]
    for tap, slope in zip(taps, derivatives, strict=True):
        layer = tap.layer
        places = tuple(place + 1 for place in layer.places)
        last = jnp.moveaxis(slope, places, range(slope.ndim - len(places), slope.ndim))
        rows = last.reshape(-1, math.prod(slope.shape[place] for place in places))
        own = (rows.T @ rows * (slope.shape[0] / rows.shape[0])).astype(scalar_dtype())
        sides = found[layer.weight]
        sides[layer.units] = sides[layer.units] + own if layer.units in sides else own
    one_side = [next(iter(sides.items())) if len(sides) == 1 else ((), None) for sides in found]
    return Covariance(tuple(own for _, own in one_side), tuple(units for units, _ in one_side))


def alignment(found: Covariance, x: Field, power: ArrayLike, pearson: bool = False) -> Field:
    """For each tensor, the cosine of x'x and (x'Kx)^power, x as the layer's matrix, K its moment.

    With `pearson` the mean of its entries is taken from each of the two matrices. NaN where a
    tensor has no layer, or is zero.
    """

    def one(tensor: Tensor, moment: jax.Array | None, units: tuple[int, ...]) -> Tensor:
        if tensor is None:
            return None
        if moment is None:
            return jnp.full((1,) * tensor.ndim, jnp.nan, tensor.dtype)
        rows = jnp.moveaxis(tensor, units, range(len(units)))
        matrix = rows.reshape(len(moment), -1).astype(moment.dtype)
        value = _cosine(matrix, moment, power, pearson)
        return value.reshape((1,) * tensor.ndim).astype(tensor.dtype)

    rows = zip(x.members, found.moments, found.units, strict=True)
    return Field.of([one(*row) for row in rows], x.tree)


def _cosine(matrix: jax.Array, moment: jax.Array, power: ArrayLike, pearson: bool) -> jax.Array:
    """Of x'x and (x'Kx)^power, without a matrix as large as the inputs squared."""
    s = matrix @ matrix.T
    sums = jnp.sum(matrix, axis=1)
    if isinstance(power, int | float) and power == 1:
        # tr(x'x x'Kx) = tr(SKS) with S = xx'.
        sk = s @ moment
        both, square, total = jnp.sum(sk * s), jnp.sum(sk * sk.T), sums @ moment @ sums
    else:
        # The right singular vectors of K^(1/2) x are the eigenvectors of x'Kx.
        values, vectors = lapack.eigh(moment)
        root = jnp.sqrt(jnp.maximum(values, 0))[:, None] * vectors.T
        _, singular, right = lapack.svd(root @ matrix)
        shares = (singular / singular[0]) ** (2 * jnp.asarray(power, moment.dtype))
        both = shares @ jnp.sum((matrix @ right.T) ** 2, axis=0)
        square, total = jnp.sum(shares**2), shares @ jnp.sum(right, axis=1) ** 2
    own, mean = jnp.sum(s * s), sums @ sums
    if pearson:
        count = matrix.shape[1] ** 2
        both -= mean * total / count
        own, square = own - mean**2 / count, square - total**2 / count
    return both / (jnp.sqrt(own) * jnp.sqrt(jnp.maximum(square, 0)))
