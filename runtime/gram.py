"""Iterations of a matrix by polynomials of its Gram matrix, such as Newton-Schulz.

A round is y <- p(yy')y with a polynomial p, which is the same as y p(y'y). There are two ways:

- *plainly*: in each round the Gram matrix of the smaller side, p of it, and a product with y;
- *in bursts*: yy' is taken once, as R. All that follows is polynomials of R: the Gram matrix of the
  next round is p(R) R p(R), and Q, the product of the polynomials, meets y at the end of the burst.
  For each round but the first that is 3 products of small matrices in place of 2 with y.

R has the squares of y's singular values, so what rounding adds to it is not small beside those of
a small one, and grows as those do, by p(0)^2 in a round. A burst ends before that may have grown
by more than `GROWTH`, and yy' is taken anew. docs/numerics.md has what is lost either way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from .lapack import one_by_one
from .matrix import EXACT, Number

Polynomial: TypeAlias = tuple[Number, ...]
"""The coefficients of 1, x, x^2, ...; two at least."""

Burst: TypeAlias = tuple[Polynomial, ...]
"""The polynomials of the rounds that share a Gram matrix; one alone is a plain round."""

_Carry: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]
_State = TypeVar("_State")

Precision: TypeAlias = Literal["exact", "bfloat16"]

GROWTH = 2.0**15
"""How much the rounding of R may grow in a burst: in float32 to 2^-9, one rounding of bfloat16."""

BFLOAT16_GROWTH = 2.0**9
"""How much the rounding of y may grow in all rounds where products are of bfloat16."""

WORTH = 2.0**20
"""How many multiplications a burst has to save for each round."""

WRITTEN_OUT = 2
"""How many equal rounds are written out; a loop of more compiles faster and runs no slower."""


def gram_loop(
    y: jax.Array,
    *rounds: Sequence[Polynomial],
    first: int | None = None,
    precision: Precision | None = None,
) -> jax.Array:
    """The matrix after y <- p(yy')y for each polynomial p in turn, of one list after the other.

    Only the `first` few of them count, if there are more.

    `precision` says how matrices are multiplied. Left to itself it is exactly on CPU; elsewhere in
    bfloat16 with float32 sums, if the polynomials are known to let rounding grow little enough.
    """
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    polynomials = [polynomial for each in rounds for polynomial in each][:first]
    precision = precision or _precision(y, polynomials)
    rows, columns = y.shape[-2:]
    multiply = _Multiply(precision, rows <= columns)
    cut = bursts(rows, columns, polynomials, precision)

    def iterated(y: jax.Array) -> jax.Array:
        return _through(multiply.burst, cut, y)

    if any(isinstance(c, jax.Array) for polynomial in polynomials for c in polynomial):
        return iterated(y)
    # All rounds of one matrix stay in a processor's cache; a round of many matrices does not.
    found: jax.Array = one_by_one(iterated, y)
    return found


def bursts(
    rows: int, columns: int, polynomials: Sequence[Polynomial], precision: Precision = "exact"
) -> list[Burst]:
    """The polynomials cut into bursts, each alone where a burst is not cheaper or not as good."""
    small, large = sorted((rows, columns))
    saved = small**2 * (2 * large - 3 * small)
    possible = precision == "exact" and saved >= WORTH
    made: list[Burst] = []
    grown = 1.0
    for polynomial in polynomials:
        if made and possible and grown <= GROWTH:
            made[-1] = (*made[-1], polynomial)
        else:
            made.append((polynomial,))
            grown = 1.0
        grown *= _growth(polynomial) ** 2
    return made


@dataclass(frozen=True)
class _Multiply:
    """How matrices are multiplied; `left` where the Gram matrix is yy', and not y'y."""

    precision: Precision
    left: bool

    def burst(self, y: jax.Array, polynomials: Burst) -> jax.Array:
        r = self._product(y, y.mT) if self.left else self._product(y.mT, y)
        first, *rest = polynomials
        if not rest:
            return first[0] * y + self._applied(self._beyond(r, first), y)
        p = self._polynomial(r, first)
        _, _, q = _through(self._round, [(polynomial,) for polynomial in rest], (r, p, p))
        return self._applied(q, y)

    def _round(self, carry: _Carry, polynomials: Burst) -> _Carry:
        """A further round of a burst: the Gram matrix, the polynomial of it, and all until now."""
        r, p, q = carry
        (polynomial,) = polynomials
        r = self._product(self._product(p, r), p)
        p = self._polynomial(r, polynomial)
        return r, p, self._product(p, q)

    def _polynomial(self, r: jax.Array, coefficients: Polynomial) -> jax.Array:
        return _plus(self._beyond(r, coefficients), coefficients[0])

    def _beyond(self, r: jax.Array, coefficients: Polynomial) -> jax.Array:
        """The polynomial of R without its constant: by R^2 and R, and Horner's rule for others."""
        if len(coefficients) == 2:
            return coefficients[1] * r
        *others, last_but_one, last = coefficients[1:]
        total = last * self._product(r, r) + last_but_one * r
        for coefficient in reversed(others):
            total = self._product(r, _plus(total, coefficient))
        return total

    def _applied(self, q: jax.Array, y: jax.Array) -> jax.Array:
        return self._product(q, y) if self.left else self._product(y, q)

    def _product(self, a: jax.Array, b: jax.Array) -> jax.Array:
        if self.precision == "exact":
            return jnp.matmul(a, b, precision=EXACT)
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        return jnp.matmul(a, b, precision="default", preferred_element_type=jnp.float32)


def _through(
    step: Callable[[_State, Burst], _State], bursts: Sequence[Burst], state: _State
) -> _State:
    """The state after a step with each burst, in a loop where many are equal."""
    for _, equal in groupby(bursts, _key):
        burst, *more = equal
        times = 1 + len(more)
        if times > WRITTEN_OUT:
            state = lax.fori_loop(0, times, lambda _, x, burst=burst: step(x, burst), state)
        else:
            for _ in range(times):
                state = step(state, burst)
    return state


def _key(burst: Burst) -> list[list[float]]:
    """What equal bursts have in common; traced coefficients are equal if they are one value."""
    return [[c if isinstance(c, int | float) else id(c) for c in p] for p in burst]


def _plus(r: jax.Array, number: Number) -> jax.Array:
    return r + number * jnp.eye(r.shape[-1], dtype=r.dtype)


def _precision(y: jax.Array, polynomials: Sequence[Polynomial]) -> Precision:
    grown = 1.0
    for polynomial in polynomials:
        grown *= _growth(polynomial)
    possible = y.dtype == jnp.float32 and grown <= BFLOAT16_GROWTH
    return "bfloat16" if possible and jax.default_backend() != "cpu" else "exact"


def _growth(polynomial: Polynomial) -> float:
    """How much a round lets grow what is near zero; infinitely where that is not known before."""
    constant = polynomial[0]
    return max(1.0, abs(constant)) if isinstance(constant, int | float) else float("inf")
