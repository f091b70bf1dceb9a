"""Bounded loops, and choices of whether something happens."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from .rows import by_rows

_Loop: TypeAlias = tuple[jax.Array, tuple[Any, ...]]
_Kept = TypeVar("_Kept")


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


def in_place(
    condition: jax.Array,
    fresh: Callable[..., _Kept],
    kept: _Kept,
    *given: Any,
    after: Sequence[jax.Array] = (),
) -> _Kept:
    """`fresh(kept, *given)` where a condition holds, and else what is kept.

    A choice by `lax.cond` copies what it leaves as it is, in each step. On CPU this is a loop of
    one round or none, which changes a donated buffer where it lies. `after` are values that were
    made of what is kept: XLA copies what somebody might read after the loop, unless the loop waits
    for all who do. Reverse derivatives go through the choice, as such a loop has none.
    """

    def chosen(condition: jax.Array, kept: _Kept, *given: Any) -> _Kept:
        found: _Kept = lax.cond(condition, fresh, lambda kept, *_: kept, kept, *given)
        return found

    if jax.default_backend() != "cpu":
        return chosen(condition, kept, *given)
    # What has a derivative of its own may speak of nothing that is differentiated around it.
    fresh, around = jax.closure_convert(fresh, kept, *given)
    given = (*given, *around)

    def laid(kept: _Kept, *given: Any) -> _Kept:
        found: _Kept = by_rows(fresh(kept, *by_rows(given)))
        return found

    def looped(condition: jax.Array, kept: _Kept, *given: Any) -> _Kept:
        times = condition.astype(jnp.int32)

        def round(i: jax.Array, kept: _Kept) -> _Kept:
            # A choice by the round: what does not change in a loop XLA makes outside, in each step.
            found: _Kept = lax.cond(i < times, laid, lambda kept, *_: kept, kept, *given)
            return found

        last: _Kept = lax.fori_loop(0, times, round, kept)
        return last

    changed = jax.custom_jvp(looped)
    changed.defjvp(partial(jax.jvp, chosen))
    found: _Kept = changed(_waiting(condition, after), kept, *given)
    return found


def _waiting(condition: jax.Array, values: Sequence[jax.Array]) -> jax.Array:
    """The condition, by a sum that XLA cannot work out before it has the values."""
    rounds = condition.astype(jnp.int32)
    for value in values:
        if value.size:
            first = value[(0,) * value.ndim]
            rounds = jnp.minimum(rounds, 1 + (first != first).astype(jnp.int32))
    return rounds > 0
