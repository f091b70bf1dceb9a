"""Spectra and traces of operators on fields, by matfree.

An operator is a function that makes a field of a field, linear and symmetric. A spectrum is an
array with two rows, nodes and weights: the Gauss quadrature of the operator's spectrum as a start
sees it, so that the sum of weight * node^k is v'A^k v for the unit start v, up to k = 2 steps - 1.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from matfree import decomp, stochtrace

from .field import Field, scalar_dtype
from .random import normal, rademacher

Operator: TypeAlias = Callable[[Field], Field]
Function: TypeAlias = Callable[[jax.Array], Any]
_Flat: TypeAlias = Callable[[jax.Array], jax.Array]

EXHAUSTED = 1e-8
"""A direction that is left with less than this part of the operator's size is rounding."""


def lanczos(operator: Operator, start: Field, steps: int) -> jax.Array:
    """The spectrum after so many steps of Lanczos' iteration, fully reorthogonalised.

    It applies the operator `steps` times and keeps as many fields. Where the start sees fewer
    eigenvalues, the nodes beyond have weight 0 and lie among the others. A start of zeros sees
    nothing: all nodes are 0.
    """
    _, length, nodes, vectors = _decomposed(operator, start, steps)
    found = jnp.stack([nodes, vectors[0] ** 2])
    nothing = jnp.zeros_like(found).at[1, 0].set(1.0)
    found = jnp.where(length > 0, found, nothing).astype(scalar_dtype())
    more = jnp.zeros((2, steps - nodes.size), found.dtype).at[0].set(found[0, -1])
    return jnp.concatenate([found, more], axis=1)


def matrix_function(operator: Operator, function: Function, start: Field, steps: int) -> Field:
    """A function of the operator, times `start`, on what so many steps of Lanczos' iteration span.

    That is V'f(T) e1 |start|, with the basis V and T = VAV', so it asks and keeps what `lanczos`
    does. Nothing follows of a start of zeros.
    """
    _, unflatten = _raveled(start)
    basis, length, nodes, vectors = _decomposed(operator, start, steps)
    shares = jnp.where(vectors[0] != 0, vectors[0] * _each(function, nodes), 0.0)
    return unflatten(jnp.where(length > 0, length * (vectors @ shares @ basis), 0.0))


def quadrature(spectrum: jax.Array, function: Function) -> jax.Array:
    """The sum over a spectrum of each weight times a function of its node."""
    nodes, weights = spectrum
    # A node of no weight counts for nothing, whatever the function makes of it.
    return jnp.sum(jnp.where(weights > 0, weights * _each(function, nodes), 0.0))


def highest(spectrum: jax.Array) -> jax.Array:
    """The largest node: a lower bound of the operator's largest eigenvalue."""
    return jnp.max(spectrum[0])


def lowest(spectrum: jax.Array) -> jax.Array:
    """The smallest node: an upper bound of the operator's smallest eigenvalue."""
    return jnp.min(spectrum[0])


def no_spectrum(steps: int) -> jax.Array:
    """What is reported of a spectrum that is not due: NaN for all of it."""
    return jnp.full((2, steps), jnp.nan, scalar_dtype())


def hutchinson(operator: Operator, key: jax.Array, site: int, w: Field, samples: int) -> jax.Array:
    """The mean of z'Az over `samples` fields z of random signs, one after the other."""
    integrand = stochtrace.monte_carlo_trace()

    def one(i: jax.Array) -> jax.Array:
        drawn: jax.Array = integrand(operator, rademacher(jax.random.fold_in(key, i), site, w))
        return drawn.astype(scalar_dtype())

    return jnp.mean(jax.lax.map(one, jnp.arange(samples)))


def xtrace(operator: Operator, key: jax.Array, site: int, w: Field, samples: int) -> jax.Array:
    """The trace by XTrace (arXiv:2301.07825) of `samples` normal fields, all at once.

    It applies the operator to `samples` fields twice. Where that is as many as there are numbers
    it applies it to each unit vector instead, and is exact.
    """
    there = zip(w.tree.places, w.like, strict=True)
    count = min(samples, sum(place.size(x) for place, x in there if x is not None))
    estimate = stochtrace.leave_one_out_xtrace()

    def draw(i: jax.Array) -> Field:
        return normal(jax.random.fold_in(key, i), site, w)

    found: jax.Array = estimate(operator, jax.vmap(draw)(jnp.arange(count)))
    return jnp.mean(found).astype(scalar_dtype())


def _decomposed(
    operator: Operator, start: Field, steps: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Lanczos' basis as rows, the start's length, the nodes and their vectors in that basis."""
    flat, unflatten = _raveled(start)
    length = jnp.linalg.norm(flat)
    count = min(steps, flat.size)
    decompose = decomp.hessenberg(count, reortho="full", custom_vjp=False)
    begin = jnp.where(length > 0, flat, jnp.ones_like(flat))
    made = decompose(_flattened(operator, flat, unflatten), begin)
    diagonal, beside = jnp.diagonal(made.J_small), jnp.diagonal(made.J_small, -1)
    # What follows a direction that was rounding is cut off, since it shows eigenvalues twice.
    sizes = jnp.abs(diagonal).at[1:].max(beside)
    left = beside > EXHAUSTED * jax.lax.cummax(sizes)[:-1]
    left |= jnp.isnan(beside)
    goes_on = jnp.cumprod(left, dtype=bool)
    diagonal = diagonal.at[1:].set(jnp.where(goes_on, diagonal[1:], diagonal[0]))
    beside = jnp.where(goes_on, beside, 0.0)
    nodes, vectors = jnp.linalg.eigh(
        jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1), symmetrize_input=False
    )
    basis = made.Q_tall.at[1:].set(jnp.where(goes_on[:, None], made.Q_tall[1:], 0.0))
    return basis, length, nodes, vectors


def _each(function: Function, nodes: jax.Array) -> jax.Array:
    """The values of a function of one number, which may be the same for all."""
    return jax.vmap(lambda x: jnp.asarray(function(x), nodes.dtype))(nodes)


def _flattened(operator: Operator, flat: jax.Array, unflatten: Callable[..., Field]) -> _Flat:
    """The operator on vectors of the dtype of `flat`."""

    def product(vector: jax.Array) -> jax.Array:
        made, _ = _raveled(operator(unflatten(vector)))
        return made.astype(flat.dtype)

    return product


def _raveled(field: Field) -> tuple[jax.Array, Callable[[jax.Array], Field]]:
    """All numbers of a field as one vector, and what makes a field of such a vector."""
    flat, unflatten = ravel_pytree(field.members)
    return flat, lambda vector: Field.of(unflatten(vector), field.tree)
