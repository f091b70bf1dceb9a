"""Signs, extremes, conditions and choices of formulas.

`max(x, y)` is `(x + y + abs(x - y)) / 2`, `where(c, x, y)` is `y + c * (x - y)` and `not c` is
`1 - c`, so that the laws of all of these are laws of arithmetic.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import reduce

from .powers import Powers
from .values import AT_MOST_ONE, BELOW_ONE, NONNEGATIVE, POSITIVE, Value, key_of


class Order(Powers):
    """What compares formulas with 0 and with each other."""

    def __init__(self, salt: str, modulus: int) -> None:
        super().__init__(salt, modulus)
        self._extremes: dict[str, tuple[str, tuple[Value, ...]]] = {}

    def sign(self, x: Value) -> Value:
        """-1, 0 or 1: that of what is left without positive factors."""
        if x.wild:
            return self.opaque("sign", x)
        rest = self.direction(x)
        if rest.number is not None:
            return self.number((rest.number > 0) - (rest.number < 0))
        if self.is_(rest, POSITIVE):
            return self.one
        opposite = self.neg(rest)
        if rest.key < opposite.key:
            return self._sign_of(rest)
        return self.neg(self._sign_of(opposite))

    def direction(self, x: Value) -> Value:
        """The value without what is known to be positive: of its sign, and no other size."""
        coefficient, factors = self.factored(x)
        rest = self.number((coefficient > 0) - (coefficient < 0))
        for base, exponent in factors:
            if not self.is_positive(base, exponent):
                rest = self.mul(rest, self.power(base, 1 if exponent % 2 else 2))
        return rest

    def least(self, *values: Value) -> Value:
        """The smallest of some values."""
        return self._extreme("min", values)

    def most(self, *values: Value) -> Value:
        """The largest of some values."""
        return self._extreme("max", values)

    def less(self, x: Value, y: Value) -> Value:
        """Whether one is below the other, as a condition."""
        one, other = self._size(x), self._size(y)
        if one is not None and other is not None:
            return self.number(int(one < other))
        if x.wild or y.wild:
            return self.condition("less", of=[x, y], scalar=x.scalar and y.scalar)
        rest = self.direction(self.sub(x, y))
        if rest.number is not None:
            return self.number(int(rest.number < 0))
        if self.is_(rest, NONNEGATIVE):
            return self.zero
        return self.condition("negative", of=[rest], scalar=rest.scalar)

    def equal(self, x: Value, y: Value) -> Value:
        """Whether two values are the same, as a condition."""
        one, other = self._size(x), self._size(y)
        if one is not None and other is not None:
            return self.number(int(one == other))
        if x.wild or y.wild:  # NaN is not even itself
            pair = sorted((x, y), key=key_of)
            return self.condition("equal", of=pair, scalar=x.scalar and y.scalar)
        if x.key == y.key:
            return self.one
        rest = self.direction(self.sub(x, y))
        if rest.number is not None:
            return self.number(int(rest.number == 0))
        if self.is_(rest, POSITIVE):
            return self.zero
        rest = min(rest, self.neg(rest), key=key_of)
        return self.condition("zero", of=[rest], scalar=rest.scalar)

    def invert(self, x: Value) -> Value:
        """Whether a condition does not hold."""
        return self.sub(self.one, x)

    def either(self, x: Value, y: Value) -> Value:
        """Whether one of two conditions holds."""
        return self.invert(self.mul(self.invert(x), self.invert(y)))

    def choose(self, condition: Value, yes: Value, no: Value) -> Value:
        """One of two values."""
        if yes.key == no.key or condition.number is not None:
            return no if condition.number == 0 else yes
        if yes.wild or no.wild:
            scalar = condition.scalar and yes.scalar and no.scalar
            return self.atom("choose", of=[condition, yes, no], scalar=scalar, wild=True)
        found = self.add(no, self.mul(condition, self.sub(yes, no)))
        return self.knowing(found, self.facts(yes) & self.facts(no))

    def _sign_of(self, x: Value) -> Value:
        known = AT_MOST_ONE | (self.facts(x) & NONNEGATIVE)
        return self.atom("sign", of=[x], scalar=x.scalar, facts=known)

    def _extreme(self, which: str, values: Iterable[Value]) -> Value:
        flat: dict[str, Value] = {}
        for value in values:
            own, inner = self._extremes.get(value.key, ("", ()))
            flat |= {x.key: x for x in (inner if own == which else (value,))}
        operands = [flat[key] for key in sorted(flat)]
        sizes = {x: size for x in operands if (size := self._size(x)) is not None}
        if len(sizes) > 1:
            best = (min if which == "min" else max)(sizes, key=lambda x: sizes[x])
            operands = [x for x in operands if x not in sizes or x is best]
        if len(operands) == 1:
            return operands[0]
        scalar = all(x.scalar for x in operands)
        if any(x.wild for x in operands):
            return self.atom("opaque", which, of=operands, scalar=scalar)
        side: Callable[[Value, Value], Value] = self.sub if which == "min" else self.add

        def pair(x: Value, y: Value) -> Value:
            apart = self.absolute(self.sub(x, y))
            return self.mul(self.number(Fraction(1, 2)), side(self.add(x, y), apart))

        found = reduce(pair, operands)
        all_, some = -1, 0
        for x in operands:
            all_, some = all_ & self.facts(x), some | self.facts(x)
        low, high = (all_, some) if which == "min" else (some, all_)
        known = (low & POSITIVE) | (high & BELOW_ONE)
        if found.number is None:
            self._extremes[found.key] = (which, tuple(operands))
        return self.knowing(found, known)

    def _size(self, x: Value) -> Fraction | float | None:
        """Where a number stands among numbers and infinities, which have an order too."""
        if x.number is not None:
            return x.number
        return self.infinities.get(x.key)
