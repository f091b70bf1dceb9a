"""What formulas are made of: numbers, atoms and conditions, and what is known of them."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import reduce
from hashlib import sha256

from .tower import MOST_TERMS, Generator, Monomial, Terms, Tower
from .values import AT_MOST_ONE, BELOW_ONE, NONNEGATIVE, POSITIVE, Value, key_of

MOST_BITS = 250
"""Larger numbers are atoms, so none is a multiple of the modulus."""

_MOST_DEGREE = 2**128
_SMALL = 2**64


class Atoms:
    """Makes numbers, atoms and conditions, and values of sums that were worked out."""

    def __init__(self, salt: str, modulus: int) -> None:
        self.salt = salt
        self.tower = Tower(modulus)
        self._facts: dict[str, int] = {}

    def number(self, value: int | Fraction) -> Value:
        """A rational number."""
        exact = Fraction(value)
        if max(exact.numerator.bit_length(), exact.denominator.bit_length()) > MOST_BITS:
            return self.atom("number", str(exact))
        modulus = self.tower.modulus
        residue = exact.numerator * pow(exact.denominator, -1, modulus) % modulus
        terms: Terms = {(): residue} if residue else {}
        return Value(self._key(terms), terms, exact, True, frozenset(), 0, coefficient=exact)

    def atom(
        self,
        *description: object,
        of: Iterable[Value] = (),
        scalar: bool = True,
        uses: Iterable[int] = (),
        wild: bool = False,
        facts: int = 0,
    ) -> Value:
        """Something of which nothing is known but what it is: a description, and values."""
        of = tuple(of)
        wild = wild or any(x.wild for x in of)
        name = self.hashed("atom", description, [x.key for x in of], scalar, wild)
        terms: Terms = {(): int(name, 16) % self.tower.modulus}
        used = frozenset(uses).union(*(x.uses for x in of))
        key = self._key(terms)
        self._facts[key] = self._facts.get(key, 0) | facts
        total = not wild and all(x.total for x in of)
        return Value(key, terms, None, scalar, used, wild=wild, total=total)

    def condition(
        self,
        *description: object,
        of: Iterable[Value] = (),
        scalar: bool = True,
        uses: Iterable[int] = (),
    ) -> Value:
        """Something that is 0 or 1, of which nothing else is known."""
        of = tuple(of)
        name = self.hashed("condition", description, [x.key for x in of], scalar)
        self.tower.generators[name] = Generator(0, None)
        used = frozenset(uses).union(*(x.uses for x in of))
        total = all(x.total for x in of)
        return self.alone(name, scalar, used, NONNEGATIVE | AT_MOST_ONE, total=total)

    # ---- what is known

    def knowing(self, x: Value, facts: int) -> Value:
        """The value itself, of which more is known from now on, if it is known everywhere."""
        if facts and x.total:
            self._facts[x.key] = self.facts(x) | facts
        return x

    def facts(self, x: Value) -> int:
        """What is known of a value."""
        if x.number is not None:
            return (
                (NONNEGATIVE if x.number >= 0 else 0)
                | (POSITIVE if x.number > 0 else 0)
                | (AT_MOST_ONE if x.number <= 1 else 0)
                | (BELOW_ONE if x.number < 1 else 0)
            )
        known = self._facts.get(x.key, 0)
        if x.factors and x.coefficient > 0:
            even = (NONNEGATIVE if exponent % 2 == 0 else 0 for _, exponent in x.factors)
            signs = (fact | self.facts(x) for fact, (x, _) in zip(even, x.factors, strict=True))
            known |= reduce(int.__and__, signs) & POSITIVE
        return known

    def is_(self, x: Value, fact: int) -> bool:
        """Whether all bits of a fact are known of a value."""
        return self.facts(x) & fact == fact

    # ---- what others make values with

    def alone(
        self, generator: str, scalar: bool, uses: frozenset[int], facts: int, *, total: bool
    ) -> Value:
        """The value that a generator is, of which this is known wherever it is defined."""
        terms: Terms = {(generator,): 1}
        key = self._key(terms)
        self._facts[key] = self._facts.get(key, 0) | facts
        return Value(key, terms, None, scalar, uses, total=total)

    def hashed(self, *parts: object) -> str:
        """The digest of a description, at this point."""
        return sha256(repr((self.salt, parts)).encode()).hexdigest()

    def _key(self, terms: Mapping[Monomial, int]) -> str:
        return self.hashed("value", sorted(terms.items()))

    def opaque(self, op: str, *inputs: Value, wild: bool = False) -> Value:
        """What an op makes of its inputs, of which no more is known."""
        ordered = sorted(inputs, key=key_of) if op in ("add", "mul") else inputs
        scalar = all(x.scalar for x in inputs)
        return self.atom("opaque", op, of=ordered, scalar=scalar, wild=wild)

    def made(self, terms: Terms, of: tuple[Value, ...], degree: int, op: str) -> Value:
        """The value of a sum that an op was worked out to, or what it makes if that is too large.

        `of` are the values that it was worked out from.
        """
        if len(terms) > MOST_TERMS or degree > _MOST_DEGREE:
            return self.opaque(op, *of)
        if not terms:
            return self.number(0)
        scalar = all(x.scalar for x in of)
        uses = frozenset[int]().union(*(x.uses for x in of))
        if terms.keys() == {()}:
            # What is no number has a value of this size with a chance of 2^-190.
            for small in (terms[()], terms[()] - self.tower.modulus):
                if abs(small) < _SMALL:
                    return self.number(small)
        total = all(x.total for x in of)
        return Value(self._key(terms), terms, None, scalar, uses, degree, total=total)
