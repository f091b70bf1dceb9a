"""Roots, sizes and powers of formulas."""

from fractions import Fraction
from math import isqrt

from .arithmetic import Arithmetic
from .values import BELOW_ONE, NONNEGATIVE, POSITIVE, Value


class Powers(Arithmetic):
    """Roots are generators, with their radicands as squares; `abs(x)` is the root of `x^2`."""

    def pow(self, x: Value, y: Value) -> Value:
        """Any power: whole and half ones are worked out, and positive factors taken apart."""
        if y.number is not None and y.number.denominator == 1:
            return self.power(x, int(y.number))
        if y.number is not None and y.number.denominator == 2:
            return self.power(self.root(x), int(2 * y.number))
        if x.number == 1:
            return self.one
        if y.number is None:
            found = self.atom("pow", of=[x, y], scalar=x.scalar and y.scalar)
        else:
            found = self._fraction_of(x, y.number)
        known = self.facts(x) & POSITIVE
        if known and self.is_(y, POSITIVE):
            known |= self.facts(x) & BELOW_ONE
        return self.knowing(found, known)

    def root(self, x: Value) -> Value:
        """The square root: that of each positive factor, and of the rest."""
        if x.wild or (x.number is not None and x.number < 0):
            return self.opaque("root", x, wild=True)
        if x.number == 0:
            return self.zero
        coefficient, factors = self.factored(x)
        whole = abs(coefficient.numerator * coefficient.denominator)
        outside = self.number(Fraction(1, coefficient.denominator))
        exact = isqrt(whole)
        if exact * exact == whole:
            outside = self.mul(outside, self.number(exact))
        else:
            outside = self.mul(outside, self.generated(self.number(whole)))
        inside = self.number(1 if coefficient > 0 else -1)
        for base, exponent in factors:
            half, odd = divmod(exponent, 2)
            outside = self.mul(outside, self.power(self.absolute(base), half))
            if odd and self.is_positive(base, exponent):
                outside = self.mul(outside, self.generated(base))
            elif odd:
                inside = self.mul(inside, base)
        found = outside if inside.number == 1 else self.mul(outside, self.generated(inside))
        known = NONNEGATIVE | (self.facts(x) & (POSITIVE | BELOW_ONE))
        return self.knowing(found, known)

    def absolute(self, x: Value) -> Value:
        """The value without its sign: the root of its square."""
        if x.wild:
            return self.opaque("absolute", x)
        coefficient, factors = self.factored(x)
        found = self.number(abs(coefficient))
        for base, exponent in factors:
            size = base
            if exponent % 2 and not self.is_(base, NONNEGATIVE):
                size = self.generated(self.mul(base, base))
            found = self.mul(found, self.power(size, exponent))
        return self.knowing(found, NONNEGATIVE)

    def _fraction_of(self, x: Value, exponent: Fraction) -> Value:
        whole = exponent.numerator // exponent.denominator
        part = exponent - whole
        if x.wild:
            return self.atom("pow", str(exponent), of=[x], scalar=x.scalar)
        found = self.power(x, whole)
        coefficient, factors = self.factored(x)
        rest = self.number(coefficient)
        for base, times in factors:
            if self.is_(base, POSITIVE):
                atom = self.atom("pow", str(part), of=[base], scalar=base.scalar, facts=POSITIVE)
                found = self.mul(found, self.power(atom, times))
            else:
                rest = self.mul(rest, self.power(base, times))
        if rest.number == 1:
            return found
        return self.mul(found, self.atom("pow", str(part), of=[rest], scalar=rest.scalar))
