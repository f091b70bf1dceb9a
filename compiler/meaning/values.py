"""Formulas as values, and what may be known of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from .tower import Monomial

NONNEGATIVE, POSITIVE, AT_MOST_ONE, BELOW_ONE = 1, 3, 4, 12
"""What may be known of a value, as bits; the second and the last imply those before them."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A formula. `key` says which one, for one algebra; two formulas of one key are equal.

    `scalar` is false where it may differ between the elements of a field. `uses` are the states
    that it may depend on. `total` says that it was worked out without anything that may be
    undefined: what is found out about a value that is not may fail for its equals. `number` is
    there when it is one. `factors` with their exponents and `coefficient` multiply to the value;
    a value without factors is its own only one.
    """

    key: str
    terms: Mapping[Monomial, int]
    number: Fraction | None
    scalar: bool
    uses: frozenset[int]
    degree: int = 1
    wild: bool = False
    total: bool = True
    coefficient: Fraction = Fraction(1)
    factors: "tuple[tuple[Value, int], ...]" = ()


Factors = dict[str, tuple[Value, int]]


def key_of(x: Value) -> str:
    """The key, to sort by."""
    return x.key
