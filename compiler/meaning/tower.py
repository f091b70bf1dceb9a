"""A field of numbers with square roots and conditions put on top: sums of products of generators.

The numbers are those of a finite field. A generator is something with a known square: a root, whose
square is its radicand, or a condition, 0 or 1, which is its own. A product of distinct generators
is a *monomial*, and a sum of monomials with numbers before them can be written in one way only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

MOST_TERMS = 64
"""Sums of more terms are not worked out."""

Monomial = tuple[str, ...]
Terms = dict[Monomial, int]


@dataclass(frozen=True, slots=True)
class Generator:
    """How high it stands over those that its square is made of; without a square, a condition."""

    height: int
    square: Mapping[Monomial, int] | None


class TooLargeError(Exception):
    """An exact result has too many terms, or is not known to exist."""


class Tower:
    """Arithmetic on sums of products of its generators."""

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus
        self.generators: dict[str, Generator] = {}

    def sum(self, x: Mapping[Monomial, int], y: Mapping[Monomial, int]) -> Terms:
        """The sum."""
        total = dict(x)
        for monomial, c in y.items():
            total[monomial] = (total.get(monomial, 0) + c) % self.modulus
        return {monomial: c for monomial, c in total.items() if c}

    def product(self, x: Mapping[Monomial, int], y: Mapping[Monomial, int]) -> Terms:
        """The product. Raises TooLargeError."""
        if len(x) * len(y) > MOST_TERMS**2:
            raise TooLargeError
        total: Terms = {}
        for left, a in x.items():
            for right, b in y.items():
                for monomial, c in self._monomial(left, right, a * b % self.modulus).items():
                    total[monomial] = (total.get(monomial, 0) + c) % self.modulus
        total = {monomial: c for monomial, c in total.items() if c}
        if len(total) > MOST_TERMS:
            raise TooLargeError
        return total

    def _monomial(self, x: Monomial, y: Monomial, coefficient: int) -> Terms:
        if not x or not y:
            return {x or y: coefficient}
        once = set(x) ^ set(y)
        squares = []
        for name in set(x) & set(y):
            square = self.generators[name].square
            if square is None:
                once.add(name)
            else:
                squares.append(square)
        return reduce(self.product, squares, {tuple(sorted(once)): coefficient})

    def inverse(self, terms: Mapping[Monomial, int]) -> Terms:
        """One over the sum, by its conjugate in the topmost generator, so that one less is left.

        Raises TooLargeError, also where this finds no inverse.
        """
        names = {name for monomial in terms for name in monomial}
        if not names:
            if not terms:
                raise TooLargeError
            return {(): pow(terms[()], -1, self.modulus)}
        top = max(names, key=lambda name: (self.generators[name].height, name))
        without = {m: c for m, c in terms.items() if top not in m}
        with_ = {tuple(n for n in m if n != top): c for m, c in terms.items() if top in m}
        square = self.generators[top].square
        alone: Terms = {(top,): 1}
        if square is None:
            no = self.inverse(without)
            yes = self.inverse(self.sum(without, with_))
            return self.sum(no, self.product(alone, self.sum(yes, self.negative(no))))
        inside = self.product(self.product(with_, with_), square)
        norm = self.sum(self.product(without, without), self.negative(inside))
        conjugate = self.sum(without, self.product(alone, self.negative(with_)))
        return self.product(conjugate, self.inverse(norm))

    def negative(self, terms: Mapping[Monomial, int]) -> Terms:
        """Minus the sum."""
        return {monomial: self.modulus - c for monomial, c in terms.items()}
