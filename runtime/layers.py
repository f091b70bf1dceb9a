"""Where a model multiplies by its matrices, and how its outputs depend on what comes of that.

A model is traced for one example, and each product of a weight matrix with the layer's input gets
a tap: zeros that are added to the result, so that a derivative along a tap is one along what the
layer hands on. Matrices of which no product is found, such as those inside a loop, have no layer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend import core

from .field import Field, Tensor, scalar_dtype

Model: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""The outputs of a model for one example, by the tensors of its weights."""


@dataclass(frozen=True, slots=True)
class Covariance:
    """The second moment of the outputs' derivative in what a layer hands on, for each tensor.

    `transposed` says of a kernel that its columns are the units, as most frameworks lay it out.
    """

    moments: tuple[jax.Array | None, ...]
    transposed: tuple[bool, ...]


jax.tree_util.register_dataclass(Covariance, ["moments"], ["transposed"])


@dataclass(slots=True)
class _Tap:
    """A product with a matrix: which weight it is, how it lies, and what comes of it.

    `units` is the axis of the result that has the units.
    """

    weight: int
    transposed: bool
    units: int
    shape: tuple[int, ...]
    dtype: Any


def covariance(
    model: Model, weights: tuple[jax.Array, ...], key: jax.Array, samples: int
) -> Covariance:
    """For one example, the sum over outputs, and the mean over the places of a sequence.

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
    moments: list[jax.Array | None] = [None] * len(weights)
    transposed = [True] * len(weights)
    for tap, slope in zip(taps, derivatives, strict=True):
        units = slope if tap.units else jnp.moveaxis(slope, 1, -1)
        rows = units.reshape(-1, units.shape[-1])
        places = rows.shape[0] // slope.shape[0]
        own = (rows.T @ rows / places).astype(scalar_dtype())
        before = moments[tap.weight]
        moments[tap.weight] = own if before is None else before + own
        transposed[tap.weight] = tap.transposed
    return Covariance(tuple(moments), tuple(transposed))


def alignment(found: Covariance, x: Field) -> Field:
    """For each tensor, the cosine of x'x and x'Kx, with x as the layer's matrix and K its moment.

    By tr(x'x x'Kx) = tr(SKS) with S = xx', so that nothing is as large as the inputs squared. NaN
    where a tensor has no layer, or is zero.
    """

    def one(tensor: Tensor, moment: jax.Array | None, transposed: bool) -> Tensor:
        if tensor is None:
            return None
        if moment is None:
            return jnp.full((1,) * tensor.ndim, jnp.nan, tensor.dtype)
        matrix = (tensor.T if transposed else tensor).astype(moment.dtype)
        s = matrix @ matrix.T
        sk = s @ moment
        both = jnp.sum(sk * s)
        lengths = jnp.sqrt(jnp.sum(s * s)) * jnp.sqrt(jnp.maximum(jnp.sum(sk * sk.T), 0))
        return (both / lengths).reshape((1, 1)).astype(tensor.dtype)

    rows = zip(x.tensors, found.moments, found.transposed, strict=True)
    return Field([one(*row) for row in rows], x.tree)


_Visit: TypeAlias = Callable[[Any, int, bool, int], Any]
"""Is given each product with a weight, and the weight's number, transposition and axis of units."""


def _noting(taps: list[_Tap]) -> _Visit:
    def visit(product: Any, weight: int, transposed: bool, units: int) -> Any:
        taps.append(_Tap(weight, transposed, units, product.shape, product.dtype))
        return product

    return visit


def _adding(taps: Sequence[jax.Array]) -> _Visit:
    """Adds to each product its tap: they come in the order in which they were found."""
    left = iter(taps)
    return lambda product, *_: product + next(left)


def _run(closed: Any, weights: Sequence[Any], visit: _Visit) -> list[Any]:
    """The model's outputs, with what `visit` makes of each product with a weight."""
    found, _ = _inside(closed, list(weights), [_Mark(i, False) for i in range(len(weights))], visit)
    return found


class _Mark(NamedTuple):
    """That a value is a weight, perhaps with its axes turned."""

    weight: int
    turned: bool


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
        if eqn.primitive.name in ("jit", "pjit") and any(which):
            inputs = [value(v) for v in eqn.invars]
            results, own = _inside(eqn.params["jaxpr"], inputs, which, visit)
        else:
            results, own = _executed(jaxpr, eqn, known), [_kept(eqn, which)]
            if eqn.primitive.name == "dot_general" and (layer := _layer(eqn, which)) is not None:
                results = [visit(results[0], *layer)]
        known.update(zip(eqn.outvars, results, strict=True))
        marked.update(zip(eqn.outvars, own, strict=False))
    return [value(v) for v in jaxpr.outvars], [mark(v) for v in jaxpr.outvars]


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
    match eqn.primitive.name:
        case "convert_element_type":
            return marks[0]
        case "transpose" if marks[0] is not None and eqn.params["permutation"] == (1, 0):
            return _Mark(marks[0].weight, not marks[0].turned)
        case _:
            return None


def _layer(eqn: Any, marks: _Marks) -> tuple[int, bool, int] | None:
    """Which weight a product is with, and how it lies; None for what is no layer's product."""
    summed, batch = eqn.params["dimension_numbers"]
    for side, units in ((0, 0), (1, -1)):
        mark = marks[side]
        if mark is not None and marks[1 - side] is None and not any(batch):
            # The axes of the result are those of the left side that stay, then of the right.
            is_matrix = eqn.invars[side].aval.ndim == 2 and len(summed[side]) == 1
            transposed = (summed[side][0] == 0) != mark.turned
            return (mark.weight, transposed, units) if is_matrix else None
    return None
