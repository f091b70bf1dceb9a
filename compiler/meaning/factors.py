"""Values as products of powers: what roots, signs and reductions take apart."""

from dataclasses import replace
from fractions import Fraction

from .atoms import MOST_BITS, Atoms
from .tower import Generator
from .values import BELOW_ONE, NONNEGATIVE, POSITIVE, Value

Factors = dict[str, tuple[Value, int]]
"""Bases with their exponents, by key."""


class Factoring(Atoms):
    """Finds the factors of values; see `Value` for how they are kept."""

    def __init__(self, salt: str, modulus: int) -> None:
        super().__init__(salt, modulus)
        self._radicands: dict[str, Value] = {}

    def generated(self, radicand: Value) -> Value:
        """The root of a value as a generator."""
        name = self.hashed("root", radicand.key)
        inner = {n for monomial in radicand.terms for n in monomial}
        generators = self.tower.generators
        height = 1 + max((generators[n].height for n in inner), default=0)
        generators[name] = Generator(height, radicand.terms)
        self._radicands[name] = radicand
        known = NONNEGATIVE | (self.facts(radicand) & (POSITIVE | BELOW_ONE))
        total = radicand.total and self.is_(radicand, NONNEGATIVE)
        found = self.alone(name, radicand.scalar, radicand.uses, known, total=total)
        return replace(found, degree=radicand.degree)

    def radicand(self, x: Value) -> Value | None:
        """What a value is the root of, if it is a generator that is one."""
        if len(x.terms) != 1:
            return None
        ((monomial, coefficient),) = x.terms.items()
        if len(monomial) != 1 or coefficient != 1:
            return None
        return self._radicands.get(monomial[0])

    def factored(self, x: Value) -> tuple[Fraction, tuple[tuple[Value, int], ...]]:
        """A coefficient, and powers; a value that has none is its own only factor."""
        if x.number is not None:
            return x.number, ()
        return (x.coefficient, x.factors) if x.factors else (Fraction(1), ((x, 1),))

    def multiplied(self, *powers: tuple[Value, int]) -> tuple[Fraction, Factors]:
        """The factors of a product of powers; a root to an even power is what it is a root of."""
        coefficient = Fraction(1)
        total: Factors = {}
        for x, exponent in powers:
            own, factors = self.factored(x)
            coefficient *= own**exponent
            for base, times in factors:
                multiply(total, base, times * exponent)
        return self.settled(coefficient, total)

    def settled(self, coefficient: Fraction, factors: Factors) -> tuple[Fraction, Factors]:
        """Factors with roots to odd powers only, and then without what they are roots of."""
        changed = True
        while changed:
            changed = False
            for base, _ in list(factors.values()):
                _, power = factors.get(base.key, (base, 0))
                inside = self.radicand(base)
                if inside is None or power == 0:
                    continue
                if inside.factors or inside.number is not None:
                    half = power // 2
                    own, inner = self.factored(inside)
                    coefficient *= own**half
                    powers = [*((x, half * times) for x, times in inner), (base, -2 * half)]
                else:
                    _, beside = factors.get(inside.key, (inside, 0))
                    half = power // 2 if power % 2 == 0 else -beside
                    powers = [(inside, half), (base, -2 * half)]
                for x, times in powers:
                    multiply(factors, x, times)
                changed = changed or half != 0
        return coefficient, factors

    def is_positive(self, base: Value, exponent: int) -> bool:
        """Whether a power is positive wherever it is defined, and the base with it."""
        return self.is_(base, NONNEGATIVE if exponent < 0 else POSITIVE)

    def with_factors(self, x: Value, coefficient: Fraction, factors: Factors) -> Value:
        """A value that is known to be such a product."""
        bits = max(coefficient.numerator.bit_length(), coefficient.denominator.bit_length())
        if not factors or bits > MOST_BITS or (x.key in factors and len(factors) == 1):
            return x
        ordered = tuple(factors[key] for key in sorted(factors))
        return replace(x, coefficient=coefficient, factors=ordered)


def multiply(factors: Factors, base: Value, power: int) -> None:
    """Multiply by a power, in place."""
    _, before = factors.pop(base.key, (base, 0))
    if before + power:
        factors[base.key] = (base, before + power)
