"""Sums, products, quotients and whole powers of formulas."""

from dataclasses import replace
from fractions import Fraction
from functools import reduce
from math import gcd, inf

from .factors import Factoring, Factors, multiply
from .tower import TooLargeError
from .values import AT_MOST_ONE, BELOW_ONE, NONNEGATIVE, POSITIVE, Value

_MOST_POWER = 64


class Arithmetic(Factoring):
    """The field that formulas are in; what is wild is left as it is written."""

    def __init__(self, salt: str, modulus: int) -> None:
        super().__init__(salt, modulus)
        self._made_before: dict[tuple[str, ...], Value] = {}
        self.zero = self.number(0)
        self.one = self.number(1)
        self.infinity = self.atom("number", "inf", wild=True)
        self.infinities = {self.infinity.key: inf, self.neg(self.infinity).key: -inf}

    def add(self, x: Value, y: Value) -> Value:
        """The sum."""
        name = ("add", x.key, y.key)
        if name not in self._made_before:
            self._made_before[name] = self._add(x, y)
        return self._made_before[name]

    def _add(self, x: Value, y: Value) -> Value:
        if x.number is not None and y.number is not None:
            return self.number(x.number + y.number)
        if x.number == 0 or y.number == 0:
            return y if x.number == 0 else x
        if x.wild or y.wild:
            return self.opaque("add", x, y)
        found = self.made(self.tower.sum(x.terms, y.terms), (x, y), x.degree + y.degree, "add")
        a, b = self.facts(x), self.facts(y)
        known = a & b & NONNEGATIVE
        if known and (a | b) & POSITIVE == POSITIVE:
            known = POSITIVE
        self.knowing(found, known)
        return found if found.number is not None else self._with_common_factors(found, x, y)

    def neg(self, x: Value) -> Value:
        """Minus the value."""
        return self.mul(self.number(-1), x)

    def sub(self, x: Value, y: Value) -> Value:
        """The difference."""
        found = self.add(x, self.neg(y))
        if x.number == 1:
            facts = self.facts(y)
            known = POSITIVE if facts & BELOW_ONE == BELOW_ONE else 0
            known |= NONNEGATIVE if facts & AT_MOST_ONE else 0
            known |= BELOW_ONE if facts & POSITIVE == POSITIVE else 0
            known |= AT_MOST_ONE if facts & NONNEGATIVE else 0
            self.knowing(found, known)
        return found

    def mul(self, x: Value, y: Value) -> Value:
        """The product."""
        name = ("mul", x.key, y.key)
        if name not in self._made_before:
            self._made_before[name] = self._mul(x, y)
        return self._made_before[name]

    def _mul(self, x: Value, y: Value) -> Value:
        if x.number is not None and y.number is not None:
            return self.number(x.number * y.number)
        if x.number == 1 or y.number == 1:
            return y if x.number == 1 else x
        if x.wild or y.wild:
            return self.opaque("mul", x, y)
        if x.number == 0 or y.number == 0:
            return self.zero
        try:
            terms = self.tower.product(x.terms, y.terms)
        except TooLargeError:
            return self.opaque("mul", x, y)
        found = self.made(terms, (x, y), x.degree + y.degree, "mul")
        if found.number is None:
            found = self.with_factors(found, *self.multiplied((x, 1), (y, 1)))
        both = self.facts(x) & self.facts(y)
        known = both & POSITIVE
        if known:
            known |= both & AT_MOST_ONE
            below = (self.facts(x) | self.facts(y)) & BELOW_ONE == BELOW_ONE
            known |= BELOW_ONE if below and both & AT_MOST_ONE else 0
        return self.knowing(found, known)

    def inverse(self, x: Value) -> Value:
        """One over the value."""
        name = ("inverse", x.key)
        if name not in self._made_before:
            self._made_before[name] = self._inverse(x)
        return self._made_before[name]

    def _inverse(self, x: Value) -> Value:
        if x.number:
            return self.number(1 / x.number)
        if x.key in self.infinities:
            return self.zero
        if x.wild or x.number == 0:
            return self.opaque("inverse", x)
        try:
            terms = self.tower.inverse(x.terms)
        except TooLargeError:
            found = self.opaque("inverse", x)
        else:
            generators = len({name for monomial in x.terms for name in monomial})
            found = self.made(terms, (x,), x.degree << generators, "inverse")
            if found.number is None:
                found = self.with_factors(found, *self.multiplied((x, -1)))
        if not self.is_(x, POSITIVE):
            return replace(found, total=found.number is not None)
        return self.knowing(found, POSITIVE)

    def div(self, x: Value, y: Value) -> Value:
        """The quotient."""
        return self.mul(x, self.inverse(y))

    def power(self, x: Value, exponent: int) -> Value:
        """A whole power; those with large exponents are atoms."""
        if abs(exponent) > _MOST_POWER:
            return self.atom("power", exponent, of=[x], scalar=x.scalar)
        base = self.inverse(x) if exponent < 0 else x
        return reduce(self.mul, [base] * abs(exponent), self.one)

    def _with_common_factors(self, total: Value, x: Value, y: Value) -> Value:
        """A sum as the factors that its terms share, times what is left."""
        (a, left), (b, right) = self.factored(x), self.factored(y)
        one: Factors = {base.key: (base, exponent) for base, exponent in left}
        other: Factors = {base.key: (base, exponent) for base, exponent in right}
        for base, _ in [*one.values(), *other.values()]:
            inside = self.radicand(base)
            if inside is not None:
                for side in (one, other):
                    _, power = side.get(inside.key, (inside, 0))
                    multiply(side, inside, -power)
                    multiply(side, base, 2 * power)
        if {k: e for k, (_, e) in one.items()} == {k: e for k, (_, e) in other.items()}:
            return self.with_factors(total, *self.settled(a + b, one))
        shared: Factors = {}
        for key, (base, _) in (one | other).items():
            exponents = (one.get(key, (base, 0))[1], other.get(key, (base, 0))[1])
            multiply(shared, base, min(exponents))
        content = Fraction(
            gcd(a.numerator * b.denominator, b.numerator * a.denominator),
            a.denominator * b.denominator,
        )
        if not shared and content == 1:
            return total
        content, shared = self.settled(content, shared)
        common = self.number(content)
        for base, exponent in shared.values():
            common = self.mul(common, self.power(base, exponent))
        try:
            terms = self.tower.product(total.terms, self.tower.inverse(common.terms))
        except TooLargeError:
            return total
        rest = self.made(terms, (total, common), total.degree + common.degree, "rest")
        if all(self.is_(base, POSITIVE) for base, _ in shared.values()):
            self.knowing(rest, self.facts(total) & POSITIVE)
        if rest.number is not None:
            content *= rest.number
        else:
            multiply(shared, rest, 1)
        return self.with_factors(total, *self.settled(content, shared))
