"""SOAP and Shampoo as people write them: optax transformations of one matrix at a time.

Straightforward ports of what the references do, in their order: SOAP of github.com/nikhilvyas/SOAP
(arXiv:2409.11321), Shampoo of github.com/facebookresearch/optimizers (arXiv:2309.06497). Each
matrix is worked on by itself, with `jnp.linalg` and exact products, and has a `lax.cond` of its own
where the reference asks whether it is time. What is no matrix belongs elsewhere (`for_matrices`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

Tree = Any

TINY = 1e-30


class Side(NamedTuple):
    """A side of a matrix: its mean of Gram matrices, and the basis or root made of that."""

    gram: jax.Array
    factor: jax.Array


class Kept(NamedTuple):
    """What is kept for a matrix."""

    mu: jax.Array
    nu: jax.Array
    left: Side
    right: Side


class PortState(NamedTuple):
    """The state of a port, with an entry for each matrix."""

    count: jax.Array
    kept: tuple[Kept, ...]


Update = Callable[[jax.Array, Kept, jax.Array], tuple[jax.Array, Kept]]
"""From a gradient, what is kept and the count of calls: the step, and what is kept then."""


def for_matrices(
    matrices: optax.GradientTransformation, chosen: Callable[[Tree], Tree], rate: float = 1e-3
) -> optax.GradientTransformation:
    """A transformation for the tensors that `chosen` marks with True, and Adam for the rest."""
    return optax.partition({True: matrices, False: optax.adam(rate)}, lambda tree: chosen(tree))


def soap(
    lr: float = 3e-3,
    b1: float = 0.95,
    b2: float = 0.95,
    shampoo_beta: float = 0.95,
    eps: float = 1e-8,
    refresh: int = 10,
) -> optax.GradientTransformation:
    """SOAP without decay, as the reference goes through it.

    The first call makes the bases and moves nothing. In each later one the first moment is rotated
    back before the Gram matrices change, and into the bases as they are then.
    """

    def update(g: jax.Array, kept: Kept, count: jax.Array) -> tuple[jax.Array, Kept]:
        return lax.cond(count == 0, begin, go_on, g, kept, count)

    def begin(g: jax.Array, kept: Kept, count: jax.Array) -> tuple[jax.Array, Kept]:
        sides = _gathered(g, kept, shampoo_beta)
        left, right = (side._replace(factor=_eigenvectors(side.gram)) for side in sides)
        return jnp.zeros_like(g), kept._replace(left=left, right=right)

    def go_on(g: jax.Array, kept: Kept, count: jax.Array) -> tuple[jax.Array, Kept]:
        rotated = _into(g, kept)
        mu = b1 * kept.mu + (1 - b1) * rotated
        nu = b2 * kept.nu + (1 - b2) * rotated**2
        size = lr * jnp.sqrt(1 - b2**count) / (1 - b1**count)
        step = size * _out_of(mu / (jnp.sqrt(nu) + eps), kept)
        plain = _out_of(mu, kept)
        sides = _gathered(g, kept, shampoo_beta)
        left, right, nu = lax.cond(
            count % refresh == 0, _better_bases, lambda *same: same, *sides, nu
        )
        kept = Kept(mu, nu, left, right)
        return step, kept._replace(mu=_into(plain, kept))

    return _matrix_by_matrix(update, 0.0)


def shampoo(
    lr: float = 1e-2,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    damping: float = 1e-6,
    refresh: int = 10,
) -> optax.GradientTransformation:
    """Shampoo of the momentum, with roots of debiased means and the length of Adam's step."""

    def update(g: jax.Array, kept: Kept, count: jax.Array) -> tuple[jax.Array, Kept]:
        t = count + 1
        mu = b1 * kept.mu + (1 - b1) * g
        nu = b2 * kept.nu + (1 - b2) * g**2
        graft = mu / (1 - b1**t) / (jnp.sqrt(nu / (1 - b2**t)) + eps)
        left, right = lax.cond(
            count % refresh == 0,
            lambda *sides: tuple(_with_root(side, 1 - b2**t, damping) for side in sides),
            lambda *sides: sides,
            *_gathered(g, kept, b2),
        )
        u = _product(_product(left.factor, mu), right.factor)
        u = u * jnp.linalg.norm(graft) / (jnp.linalg.norm(u) + 1e-16)
        return lr * u, Kept(mu, nu, left, right)

    return _matrix_by_matrix(update, 1.0)


def _matrix_by_matrix(update_one: Update, factor: float) -> optax.GradientTransformation:
    """The transformation; factors start as so many times the identity."""

    def side(g: jax.Array, n: int) -> Side:
        return Side(jnp.zeros((n, n), g.dtype), factor * jnp.eye(n, dtype=g.dtype))

    def init_one(g: jax.Array) -> Kept:
        return Kept(jnp.zeros_like(g), jnp.zeros_like(g), *(side(g, n) for n in g.shape))

    def init(params: Tree) -> PortState:
        return PortState(jnp.zeros((), jnp.int32), tuple(map(init_one, jax.tree.leaves(params))))

    def update(grads: Tree, state: PortState, params: Tree = None) -> tuple[Tree, PortState]:
        flat, structure = jax.tree.flatten(grads)
        made = [update_one(g, kept, state.count) for g, kept in zip(flat, state.kept, strict=True)]
        updates = jax.tree.unflatten(structure, [-step for step, _ in made])
        return updates, PortState(state.count + 1, tuple(kept for _, kept in made))

    return optax.GradientTransformation(init, update)


def _gathered(g: jax.Array, kept: Kept, beta: float) -> tuple[Side, Side]:
    """Both sides with the gradient in their means."""
    left = beta * kept.left.gram + (1 - beta) * _product(g, g.T)
    right = beta * kept.right.gram + (1 - beta) * _product(g.T, g)
    return kept.left._replace(gram=left), kept.right._replace(gram=right)


def _into(x: jax.Array, kept: Kept) -> jax.Array:
    return _product(_product(kept.left.factor.T, x), kept.right.factor)


def _out_of(x: jax.Array, kept: Kept) -> jax.Array:
    return _product(_product(kept.left.factor, x), kept.right.factor.T)


def _better_bases(left: Side, right: Side, nu: jax.Array) -> tuple[Side, Side, jax.Array]:
    """One power iteration and QR on each side; the second moment follows the order of columns."""
    left, rows = _better_basis(left)
    right, columns = _better_basis(right)
    return left, right, nu[rows][:, columns]


def _better_basis(side: Side) -> tuple[Side, jax.Array]:
    estimates = jnp.diagonal(_product(_product(side.factor.T, side.gram), side.factor))
    order = jnp.argsort(-estimates)
    q, _ = jnp.linalg.qr(_product(side.gram, side.factor[:, order]))
    return side._replace(factor=q), order


def _eigenvectors(gram: jax.Array) -> jax.Array:
    return jnp.linalg.eigh(gram + TINY * jnp.eye(gram.shape[0], dtype=gram.dtype))[1][:, ::-1]


def _with_root(side: Side, debias: jax.Array, damping: float) -> Side:
    """The inverse fourth root of the damped, debiased mean."""
    n = side.gram.shape[0]
    identity = jnp.eye(n, dtype=side.gram.dtype)
    damped = (side.gram + damping * jnp.trace(side.gram) / n * identity) / debias
    values, vectors = jnp.linalg.eigh(damped)
    floor = jnp.finfo(values.dtype).eps * values[-1]
    return side._replace(factor=_product(vectors * jnp.maximum(values, floor) ** -0.25, vectors.T))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
