"""Where a model multiplies by its weights, and how its outputs depend on what comes of that.

A model is traced for one example, and each product or convolution of a weight with the layer's
input gets a tap: zeros that are added to the result, so that a derivative along a tap is one along
what the layer hands on. A weight is seen as a matrix: the axes that stay in the product are its
units, those that are summed its inputs. Weights of which no product is found, such as those inside
a loop, have no layer, nor has one that is multiplied from two sides.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.typing import ArrayLike

from .field import Field, Tensor, scalar_dtype

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


class _Layer(NamedTuple):
    """A product with a weight: which one, its axes of units, and where the result has those."""

    weight: int
    units: tuple[int, ...]
    places: tuple[int, ...]


class _Tap(NamedTuple):
    """What is added to the result of a product: its shape and dtype."""

    layer: _Layer
    shape: tuple[int, ...]
    dtype: Any


def covariance(
    model: Model, weights: tuple[jax.Array, ...], key: jax.Array, samples: int
) -> Covariance:
    """For one example, the sum over outputs, and the mean over the places of a sequence or image.

    Of more outputs than `samples`, so many sums with random signs stand for all of them.
    """
    closed = jax.make_jaxpr(model)(weights)
    taps: list[_Tap] = []
    jax.eval_shape(lambda: _run(closed, weights, _noting(taps)))
    zeros = [jnp.zeros(tap.shape, tap.dtype) for tap in taps]

    def tapped(added: list[jax.Array]) -> jax.Array:
        outputs = _run(closed, weights, _adding(added))
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
        values, vectors = jnp.linalg.eigh(moment)
        root = jnp.sqrt(jnp.maximum(values, 0))[:, None] * vectors.T
        _, singular, right = jnp.linalg.svd(root @ matrix, full_matrices=False)
        shares = (singular / singular[0]) ** (2 * jnp.asarray(power, moment.dtype))
        both = shares @ jnp.sum((matrix @ right.T) ** 2, axis=0)
        square, total = jnp.sum(shares**2), shares @ jnp.sum(right, axis=1) ** 2
    own, mean = jnp.sum(s * s), sums @ sums
    if pearson:
        count = matrix.shape[1] ** 2
        both -= mean * total / count
        own, square = own - mean**2 / count, square - total**2 / count
    return both / (jnp.sqrt(own) * jnp.sqrt(jnp.maximum(square, 0)))


_Visit: TypeAlias = Callable[[Any, _Layer], Any]
"""Is given the result of each product with a weight, and gives what goes on in its place."""


def _noting(taps: list[_Tap]) -> _Visit:
    def visit(product: Any, layer: _Layer) -> Any:
        taps.append(_Tap(layer, product.shape, product.dtype))
        return product

    return visit


def _adding(taps: Sequence[jax.Array]) -> _Visit:
    """Adds to each product its tap: they come in the order in which they were found."""
    left = iter(taps)
    return lambda product, _: product + next(left)


def _run(closed: Any, weights: Sequence[Any], visit: _Visit) -> list[Any]:
    """The model's outputs, with what `visit` makes of each product with a weight."""
    marks = [_Mark(i, tuple(range(x.ndim))) for i, x in enumerate(weights)]
    found, _ = _inside(closed, list(weights), marks, visit)
    return found


class _Mark(NamedTuple):
    """That a value is a weight, and which of the weight's axes each of its own is."""

    weight: int
    axes: tuple[int, ...]


_Marks: TypeAlias = Sequence[_Mark | None]


def _inside(
    closed: Any, values: list[Any], marks: _Marks, visit: _Visit
) -> tuple[list[Any], list[_Mark | None]]:
    """The results of a traced function, and which weight each value is, if it is one."""
    jaxpr = closed.jaxpr
    known = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    known |= zip(jaxpr.invars, values, strict=True)
    marked = dict(zip(jaxpr.invars, marks, strict=True))

    def value(var: Any) -> Any:
        return var.val if isinstance(var, core.Literal) else known[var]

    def mark(var: Any) -> _Mark | None:
        return None if isinstance(var, core.Literal) else marked.get(var)

    for eqn in jaxpr.eqns:
        which = [mark(v) for v in eqn.invars]
        own: list[_Mark | None]
        if eqn.primitive.name in (*_CALLS, *_CHECKPOINTS) and any(which):
            inputs = [value(v) for v in eqn.invars]
            results, own = _called(eqn, inputs, which, visit)
        else:
            results, own = _executed(jaxpr, eqn, known), [_kept(eqn, which)]
            if (layer := _layer(eqn, which)) is not None:
                results = [visit(results[0], layer)]
        known.update(zip(eqn.outvars, results, strict=True))
        marked.update(zip(eqn.outvars, own, strict=False))
    return [value(v) for v in jaxpr.outvars], [mark(v) for v in jaxpr.outvars]


_CALLS = ("jit", "pjit")
_CHECKPOINTS = ("checkpoint", "remat2")


def _called(
    eqn: Any, inputs: list[Any], marks: _Marks, visit: _Visit
) -> tuple[list[Any], list[_Mark | None]]:
    """What `_inside` gives of a function inside; a checkpoint stays one."""
    body = eqn.params["jaxpr"]
    if eqn.primitive.name in _CALLS:
        return _inside(body, inputs, marks, visit)
    found: list[_Mark | None] = []

    def run(inputs: list[Any]) -> list[Any]:
        results, found[:] = _inside(core.ClosedJaxpr(body, ()), inputs, marks, visit)
        return results

    kept = jax.checkpoint(run, policy=eqn.params["policy"], prevent_cse=eqn.params["prevent_cse"])
    return kept(inputs), found


def _executed(jaxpr: Any, eqn: Any, known: Mapping[Any, Any]) -> list[Any]:
    """The results of one operation, as JAX runs a function that is nothing else."""
    variables = (var for var in eqn.invars if not isinstance(var, core.Literal))
    given = list(dict.fromkeys(variables))
    alone = jaxpr.replace(
        constvars=[], invars=given, outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects
    )
    run = core.jaxpr_as_fun(core.ClosedJaxpr(alone, []))
    return list(run(*(known[var] for var in given)))


def _kept(eqn: Any, marks: _Marks) -> _Mark | None:
    """Which weight the result of an operation still is."""
    mark = marks[0] if marks else None
    match eqn.primitive.name:
        case "convert_element_type":
            return mark
        case "transpose" if mark is not None:
            return _Mark(mark.weight, tuple(mark.axes[i] for i in eqn.params["permutation"]))
        case _:
            return None


def _layer(eqn: Any, marks: _Marks) -> _Layer | None:
    """Which weight an operation is a layer of; None where it is none."""
    match eqn.primitive.name:
        case "dot_general":
            return _product(eqn, marks)
        case "conv_general_dilated":
            return _convolution(eqn, marks)
        case _:
            return None


def _product(eqn: Any, marks: _Marks) -> _Layer | None:
    summed, batch = eqn.params["dimension_numbers"]
    for side in (0, 1):
        mark = marks[side]
        if mark is not None and marks[1 - side] is None and not any(batch):
            stay = [i for i in range(len(mark.axes)) if i not in summed[side]]
            # The axes of the result are those of the left side that stay, then of the right.
            first = 0 if side == 0 else eqn.outvars[0].aval.ndim - len(stay)
            places = tuple(range(first, first + len(stay)))
            is_matrix = stay and summed[side]
            units = tuple(mark.axes[i] for i in stay)
            return _Layer(mark.weight, units, places) if is_matrix else None
    return None


def _convolution(eqn: Any, marks: _Marks) -> _Layer | None:
    image, kernel = marks
    groups = eqn.params["feature_group_count"] * eqn.params["batch_group_count"]
    if kernel is None or image is not None or groups > 1:
        return None
    axes = eqn.params["dimension_numbers"]
    return _Layer(kernel.weight, (kernel.axes[axes.rhs_spec[0]],), (axes.out_spec[1],))
