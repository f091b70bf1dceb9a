"""Bounded loops. A choice made while running is `jax.lax.cond`, used as it is."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

_Loop: TypeAlias = tuple[jax.Array, tuple[Any, ...]]


def repeat(
    n: jax.Array | int,
    body: Callable[..., tuple[Any, ...]],
    carry: tuple[Any, ...],
    condition: Callable[..., jax.Array] | None = None,
) -> tuple[Any, ...]:
    """The carry after at most `n` rounds of `carry = body(i, *carry)`, i from 0.

    With a condition a round runs only while `condition(*carry)` holds.
    """
    if condition is None:
        return tuple(lax.fori_loop(0, n, lambda i, carry: body(i, *carry), carry))

    def unfinished(loop: _Loop) -> jax.Array:
        i, carry = loop
        return (i < n) & condition(*carry)

    def advance(loop: _Loop) -> _Loop:
        i, carry = loop
        return i + 1, body(i, *carry)

    return tuple(lax.while_loop(unfinished, advance, (jnp.array(0), carry))[1])
