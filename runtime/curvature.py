"""Curvature along one direction: the second derivative of s -> loss(x + s u) at s = 0."""

from collections.abc import Callable

import jax

from .merge import merged
from .tree import PyTree


def curvature(
    loss: Callable[[PyTree], jax.Array],
    x: PyTree,
    u: PyTree,
    product: Callable[[], jax.Array],
) -> jax.Array:
    """The curvature u'Hu, forward over forward: no vector of the size of the weights is made.

    A layer z = h W has the products of its first derivative, h' W and h W', and of its second,
    h'' W and h' W': 4, once copies of the first are merged, where a Hessian product has 6.
    `product` gives the same number by a Hessian product, and is asked where there is no forward
    derivative: behind a `jax.custom_vjp`.
    """

    def along(x: PyTree, u: PyTree) -> jax.Array:
        return _derivative(lambda x: _derivative(loss, x, u), x, u)

    try:
        try:
            found: jax.Array = merged(along)(x, u)
            return found
        except jax.errors.ConcretizationTypeError:
            # A loss that looks at its numbers can only be called with them, outside of jit.
            return along(x, u)
    except (TypeError, NotImplementedError) as error:
        # JAX says in one way while tracing and in another while not that a jax.custom_vjp has no
        # forward derivative; its backward pass may have one.
        if "custom_vjp" not in str(error) and "custom_lin" not in str(error):
            raise
        return product()


def _derivative(f: Callable[[PyTree], jax.Array], x: PyTree, u: PyTree) -> jax.Array:
    slope: jax.Array = jax.jvp(f, (x,), (u,))[1]
    return slope
