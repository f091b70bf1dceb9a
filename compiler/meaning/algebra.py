"""Arithmetic on formulas that forgets how they are written: equal formulas have equal keys.

A formula is a rational function of *atoms* (parameters, gradients, states, `exp` of something).
It is held as its value at one point, where each atom is a number of a finite field that a hash of
its description gives. Two formulas with one value are one rational function, but for a chance of
degree / modulus (Schwartz and Zippel): degrees are at most 2^128, which makes it 2^-127. So sums,
products and quotients need no rules, no order and no expansion, and cost the same whatever they
mean.

Roots and conditions are *generators* that are kept beside the numbers, with what is known of their
squares: `r * r` is the radicand, and a condition, 0 or 1, is its own square. A value is then a sum
of products of distinct generators, in one way only. By them `abs(x)` is the root of `x^2`,
`max(x, y)` is `(x + y + abs(x - y)) / 2`, `where(c, x, y)` is `y + c * (x - y)`, `not c` is
`1 - c`, and the laws of all of these are laws of arithmetic.

What is equal is equal over the reals, wherever nothing that either side works out is undefined.
What is not known to be safe is an atom of its inputs, and equal to itself only. `inf` and NaN are
*wild*: no arithmetic is done on them.
"""

from .order import Order
from .values import Value

MODULUS = 2**255 - 19
"""The field that digests are made in: its numbers are far more than any formula has terms."""


class Algebra(Order):
    """Makes values; those of one algebra can be compared by their keys.

    With another `salt` everything is worked out at another point.
    """

    def __init__(self, salt: str = "", modulus: int = MODULUS) -> None:
        super().__init__(salt, modulus)

    def apart(self, x: Value, *, positive: bool = False) -> tuple[Value, Value]:
        """The factors that are scalars (and positive, if asked), and the rest, of one value."""
        if x.wild or x.number == 0:
            return self.one, x
        coefficient, factors = self.factored(x)
        outside, inside = self.number(abs(coefficient)), self.one
        if coefficient < 0 and positive:
            inside = self.number(-1)
        elif coefficient < 0:
            outside = self.neg(outside)
        for base, exponent in factors:
            power = self.power(base, exponent)
            if base.scalar and (not positive or self.is_positive(base, exponent)):
                outside = self.mul(outside, power)
            else:
                inside = self.mul(inside, power)
        return outside, inside
