"""Arithmetic on formulas that forgets how they are written: equal formulas have equal keys.

A formula is a rational function of *atoms* (parameters, gradients, states, `exp` of something).
It is held as its value at one point, where each atom is a number of a finite field that a hash of
its description gives. Two formulas with one value are one rational function, but for a chance of
degree / modulus, which is below 2^-120 here. So sums, products and quotients need no rules, no
order and no expansion, and cost the same whatever they mean.

Roots and conditions are *generators* that are kept beside the numbers, with what is known of their
squares: `r * r` is the radicand, and a condition, 0 or 1, is its own square. A value is then a sum
of products of distinct generators, in one way only. By them `abs(x)` is the root of `x^2`,
`max(x, y)` is `(x + y + abs(x - y)) / 2`, `where(c, x, y)` is `y + c * (x - y)`, `not c` is
`1 - c`, and the laws of all of these are laws of arithmetic.

What is equal is equal over the reals, wherever both sides are defined. What is not known to be safe
is an atom of its inputs, and equal to itself only. `inf` and NaN are *wild*: no arithmetic is done
on them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from hashlib import sha256
from math import gcd, isqrt

MODULUS = 2**255 - 19
"""The field that digests are made in: its numbers are far more than any formula has terms."""

NONNEGATIVE, POSITIVE, AT_MOST_ONE, BELOW_ONE = 1, 3, 4, 12
"""What may be known of a value, as bits; the second and the last imply those before them."""

_MOST_TERMS = 64
_MOST_DEGREE = 2**128
_MOST_BITS = 256
_MOST_POWER = 64
_SMALL = 2**64

_Monomial = tuple[str, ...]
_Terms = dict[_Monomial, int]


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
    terms: Mapping[_Monomial, int]
    number: Fraction | None
    scalar: bool
    uses: frozenset[int]
    degree: int = 1
    wild: bool = False
    total: bool = True
    coefficient: Fraction = Fraction(1)
    factors: "tuple[tuple[Value, int], ...]" = ()


_Factors = dict[str, tuple[Value, int]]


@dataclass(frozen=True, slots=True)
class _Generator:
    """Something with a known square; its place in the tower of those it is made of."""

    height: int
    radicand: Value | None

    @property
    def is_condition(self) -> bool:
        return self.radicand is None


class _TooLargeError(Exception):
    """An exact result has too many terms, or is not known to exist."""


class Algebra:
    """Makes values; those of one algebra can be compared by their keys.

    With another `salt` everything is worked out at another point.
    """

    def __init__(self, salt: str = "", modulus: int = MODULUS) -> None:
        self.salt = salt
        self.modulus = modulus
        self._generators: dict[str, _Generator] = {}
        self._facts: dict[str, int] = {}
        self._extremes: dict[str, tuple[str, tuple[Value, ...]]] = {}
        self._made_before: dict[tuple[str, ...], Value] = {}
        self.infinity = self.atom("number", "inf", wild=True)
        self._infinite = {self.infinity.key, self.neg(self.infinity).key}
        self.zero = self.number(0)
        self.one = self.number(1)

    # ---- atoms and numbers

    def number(self, value: int | Fraction) -> Value:
        """A rational number."""
        exact = Fraction(value)
        large = max(exact.numerator.bit_length(), exact.denominator.bit_length()) > _MOST_BITS
        if large or exact.denominator % self.modulus == 0:
            return self.atom("number", str(exact))
        residue = exact.numerator * pow(exact.denominator, -1, self.modulus) % self.modulus
        terms: _Terms = {(): residue} if residue else {}
        return Value(
            self._key(terms), terms, exact, True, frozenset(), 0, coefficient=exact, factors=()
        )

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
        name = self._hash("atom", description, [x.key for x in of], scalar, wild)
        terms: _Terms = {(): int(name, 16) % self.modulus}
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
        name = self._hash("condition", description, [x.key for x in of], scalar)
        self._generators[name] = _Generator(0, None)
        terms: _Terms = {(name,): 1}
        used = frozenset(uses).union(*(x.uses for x in of))
        key = self._key(terms)
        self._facts[key] = NONNEGATIVE | AT_MOST_ONE
        return Value(key, terms, None, scalar, used, total=all(x.total for x in of))

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

    # ---- arithmetic

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
            return self._opaque("add", x, y)
        found = self._made(self._sum(x.terms, y.terms), (x, y), x.degree + y.degree, "add")
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
            return self._opaque("mul", x, y)
        if x.number == 0 or y.number == 0:
            return self.zero
        try:
            terms = self._product(x.terms, y.terms)
        except _TooLargeError:
            return self._opaque("mul", x, y)
        found = self._made(terms, (x, y), x.degree + y.degree, "mul")
        if found.number is None:
            found = self._with_factors(found, *self._multiplied((x, 1), (y, 1)))
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
        if x.key in self._infinite:
            return self.zero
        if x.wild or x.number == 0:
            return self._opaque("inverse", x)
        try:
            terms = self._inverse_of(x.terms)
        except _TooLargeError:
            found = self._opaque("inverse", x)
        else:
            generators = len({name for monomial in x.terms for name in monomial})
            found = self._made(terms, (x,), x.degree << generators, "inverse")
            if found.number is None:
                found = self._with_factors(found, *self._multiplied((x, -1)))
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
            return self._opaque("root", x, wild=True)
        if x.number == 0:
            return self.zero
        coefficient, factors = self._factored(x)
        whole = abs(coefficient.numerator * coefficient.denominator)
        outside = self.number(Fraction(1, coefficient.denominator))
        exact = isqrt(whole)
        if exact * exact == whole:
            outside = self.mul(outside, self.number(exact))
        else:
            outside = self.mul(outside, self._generated(self.number(whole)))
        inside = self.number(1 if coefficient > 0 else -1)
        for base, exponent in factors:
            half, odd = divmod(exponent, 2)
            outside = self.mul(outside, self.power(self.absolute(base), half))
            if odd and self._is_positive(base, exponent):
                outside = self.mul(outside, self._generated(base))
            elif odd:
                inside = self.mul(inside, base)
        found = outside if inside.number == 1 else self.mul(outside, self._generated(inside))
        known = NONNEGATIVE | (self.facts(x) & (POSITIVE | BELOW_ONE))
        return self.knowing(found, known)

    def absolute(self, x: Value) -> Value:
        """The value without its sign: the root of its square."""
        if x.wild:
            return self._opaque("absolute", x)
        coefficient, factors = self._factored(x)
        found = self.number(abs(coefficient))
        for base, exponent in factors:
            size = base
            if exponent % 2 and not self.is_(base, NONNEGATIVE):
                size = self._generated(self.mul(base, base))
            found = self.mul(found, self.power(size, exponent))
        return self.knowing(found, NONNEGATIVE)

    # ---- order

    def sign(self, x: Value) -> Value:
        """-1, 0 or 1: that of what is left without positive factors."""
        if x.wild:
            return self._opaque("sign", x)
        rest = self.direction(x)
        if rest.number is not None:
            return self.number((rest.number > 0) - (rest.number < 0))
        if self.is_(rest, POSITIVE):
            return self.one
        opposite = self.neg(rest)
        if rest.key < opposite.key:
            return self._sign_of(rest)
        return self.neg(self._sign_of(opposite))

    def least(self, *values: Value) -> Value:
        """The smallest of some values."""
        return self._extreme("min", values)

    def most(self, *values: Value) -> Value:
        """The largest of some values."""
        return self._extreme("max", values)

    def less(self, x: Value, y: Value) -> Value:
        """Whether one is below the other, as a condition."""
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
        if x.key == y.key:
            return self.one
        if x.wild or y.wild:
            pair = sorted((x, y), key=_key_of)
            return self.condition("equal", of=pair, scalar=x.scalar and y.scalar)
        rest = self.direction(self.sub(x, y))
        if rest.number is not None:
            return self.number(int(rest.number == 0))
        if self.is_(rest, POSITIVE):
            return self.zero
        rest = min(rest, self.neg(rest), key=_key_of)
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

    # ---- factors

    def direction(self, x: Value) -> Value:
        """The value without what is known to be positive: of its sign, and no other size."""
        coefficient, factors = self._factored(x)
        rest = self.number((coefficient > 0) - (coefficient < 0))
        for base, exponent in factors:
            if not self._is_positive(base, exponent):
                rest = self.mul(rest, self.power(base, 1 if exponent % 2 else 2))
        return rest

    def apart(self, x: Value, *, positive: bool = False) -> tuple[Value, Value]:
        """The factors that are scalars (and positive, if asked), and the rest, of one value."""
        if x.wild or x.number == 0:
            return self.one, x
        coefficient, factors = self._factored(x)
        outside, inside = self.number(abs(coefficient)), self.one
        if coefficient < 0 and positive:
            inside = self.number(-1)
        elif coefficient < 0:
            outside = self.neg(outside)
        for base, exponent in factors:
            power = self.power(base, exponent)
            if base.scalar and (not positive or self._is_positive(base, exponent)):
                outside = self.mul(outside, power)
            else:
                inside = self.mul(inside, power)
        return outside, inside

    # ---- inside

    def _hash(self, *parts: object) -> str:
        return sha256(repr((self.salt, parts)).encode()).hexdigest()

    def _key(self, terms: Mapping[_Monomial, int]) -> str:
        return self._hash("value", sorted(terms.items()))

    def _opaque(self, op: str, *inputs: Value, wild: bool = False) -> Value:
        ordered = sorted(inputs, key=_key_of) if op in ("add", "mul") else inputs
        scalar = all(x.scalar for x in inputs)
        return self.atom("opaque", op, of=ordered, scalar=scalar, wild=wild)

    def _made(self, terms: _Terms, of: tuple[Value, ...], degree: int, op: str) -> Value:
        if len(terms) > _MOST_TERMS or degree > _MOST_DEGREE:
            return self._opaque(op, *of)
        if not terms:
            return self.zero
        scalar = all(x.scalar for x in of)
        uses = frozenset[int]().union(*(x.uses for x in of))
        if terms.keys() == {()}:
            # What is no number has a value of this size with a chance of 2^-190.
            for small in (terms[()], terms[()] - self.modulus):
                if abs(small) < _SMALL:
                    return self.number(small)
        total = all(x.total for x in of)
        return Value(self._key(terms), terms, None, scalar, uses, degree, total=total)

    def _sum(self, x: Mapping[_Monomial, int], y: Mapping[_Monomial, int]) -> _Terms:
        total = dict(x)
        for monomial, c in y.items():
            total[monomial] = (total.get(monomial, 0) + c) % self.modulus
        return {monomial: c for monomial, c in total.items() if c}

    def _product(self, x: Mapping[_Monomial, int], y: Mapping[_Monomial, int]) -> _Terms:
        if len(x) * len(y) > _MOST_TERMS**2:
            raise _TooLargeError
        total: _Terms = {}
        for left, a in x.items():
            for right, b in y.items():
                for monomial, c in self._monomial(left, right, a * b % self.modulus).items():
                    total[monomial] = (total.get(monomial, 0) + c) % self.modulus
        total = {monomial: c for monomial, c in total.items() if c}
        if len(total) > _MOST_TERMS:
            raise _TooLargeError
        return total

    def _monomial(self, x: _Monomial, y: _Monomial, coefficient: int) -> _Terms:
        if not x or not y:
            return {x or y: coefficient}
        once = set(x) ^ set(y)
        squares = []
        for name in set(x) & set(y):
            radicand = self._generators[name].radicand
            if radicand is None:
                once.add(name)
            else:
                squares.append(radicand.terms)
        return reduce(self._product, squares, {tuple(sorted(once)): coefficient})

    def _inverse_of(self, terms: Mapping[_Monomial, int]) -> _Terms:
        """By the conjugate in the topmost generator, so that one generator less is left."""
        names = {name for monomial in terms for name in monomial}
        if not names:
            if not terms:
                raise _TooLargeError
            return {(): pow(terms[()], -1, self.modulus)}
        top = max(names, key=lambda name: (self._generators[name].height, name))
        without = {m: c for m, c in terms.items() if top not in m}
        with_ = {tuple(n for n in m if n != top): c for m, c in terms.items() if top in m}
        radicand = self._generators[top].radicand
        alone: _Terms = {(top,): 1}
        if radicand is None:
            no = self._inverse_of(without)
            yes = self._inverse_of(self._sum(without, with_))
            return self._sum(no, self._product(alone, self._sum(yes, self._negative(no))))
        square = self._product(self._product(with_, with_), radicand.terms)
        norm = self._sum(self._product(without, without), self._negative(square))
        conjugate = self._sum(without, self._product(alone, self._negative(with_)))
        return self._product(conjugate, self._inverse_of(norm))

    def _negative(self, terms: Mapping[_Monomial, int]) -> _Terms:
        return {monomial: self.modulus - c for monomial, c in terms.items()}

    def _generated(self, radicand: Value) -> Value:
        """The root of a value as a generator."""
        name = self._hash("root", radicand.key)
        inner = {n for monomial in radicand.terms for n in monomial}
        height = 1 + max((self._generators[n].height for n in inner), default=0)
        self._generators[name] = _Generator(height, radicand)
        terms: _Terms = {(name,): 1}
        key = self._key(terms)
        known = NONNEGATIVE | (self.facts(radicand) & (POSITIVE | BELOW_ONE))
        self._facts[key] = self._facts.get(key, 0) | known
        total = radicand.total and self.is_(radicand, NONNEGATIVE)
        degree, uses = radicand.degree, radicand.uses
        return Value(key, terms, None, radicand.scalar, uses, degree, total=total)

    def _fraction_of(self, x: Value, exponent: Fraction) -> Value:
        whole = exponent.numerator // exponent.denominator
        part = exponent - whole
        if x.wild:
            return self.atom("pow", str(exponent), of=[x], scalar=x.scalar)
        found = self.power(x, whole)
        coefficient, factors = self._factored(x)
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

    def _sign_of(self, x: Value) -> Value:
        known = AT_MOST_ONE | (self.facts(x) & NONNEGATIVE)
        return self.atom("sign", of=[x], scalar=x.scalar, facts=known)

    def _extreme(self, which: str, values: Iterable[Value]) -> Value:
        flat: dict[str, Value] = {}
        for value in values:
            own, inner = self._extremes.get(value.key, ("", ()))
            flat |= {x.key: x for x in (inner if own == which else (value,))}
        operands = [flat[key] for key in sorted(flat)]
        numbers = [x.number for x in operands if x.number is not None]
        if len(numbers) > 1:
            best = self.number(min(numbers) if which == "min" else max(numbers))
            operands = [x for x in operands if x.number is None] + [best]
            operands.sort(key=_key_of)
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

    def _factored(self, x: Value) -> tuple[Fraction, tuple[tuple[Value, int], ...]]:
        if x.number is not None:
            return x.number, ()
        return (x.coefficient, x.factors) if x.factors else (Fraction(1), ((x, 1),))

    def _multiplied(self, *powers: tuple[Value, int]) -> tuple[Fraction, _Factors]:
        """The factors of a product of powers; a root to an even power is what it is a root of."""
        coefficient = Fraction(1)
        total: _Factors = {}
        for x, exponent in powers:
            own, factors = self._factored(x)
            coefficient *= own**exponent
            for base, times in factors:
                _multiply(total, base, times * exponent)
        return self._settled(coefficient, total)

    def _settled(self, coefficient: Fraction, factors: _Factors) -> tuple[Fraction, _Factors]:
        """Factors with roots to odd powers only, and then without what they are roots of."""
        changed = True
        while changed:
            changed = False
            for base, _ in list(factors.values()):
                _, power = factors.get(base.key, (base, 0))
                inside = self._radicand(base)
                if inside is None or power == 0:
                    continue
                if inside.factors or inside.number is not None:
                    half = power // 2
                    own, inner = self._factored(inside)
                    coefficient *= own**half
                    powers = [*((x, half * times) for x, times in inner), (base, -2 * half)]
                else:
                    _, beside = factors.get(inside.key, (inside, 0))
                    half = power // 2 if power % 2 == 0 else -beside
                    powers = [(inside, half), (base, -2 * half)]
                for x, times in powers:
                    _multiply(factors, x, times)
                changed = changed or half != 0
        return coefficient, factors

    def _is_positive(self, base: Value, exponent: int) -> bool:
        """Whether a power is positive wherever it is defined, and the base with it."""
        return self.is_(base, NONNEGATIVE if exponent < 0 else POSITIVE)

    def _radicand(self, x: Value) -> Value | None:
        if len(x.terms) != 1:
            return None
        ((monomial, coefficient),) = x.terms.items()
        if len(monomial) != 1 or coefficient != 1:
            return None
        return self._generators[monomial[0]].radicand

    def _with_factors(self, x: Value, coefficient: Fraction, factors: _Factors) -> Value:
        bits = max(coefficient.numerator.bit_length(), coefficient.denominator.bit_length())
        if not factors or bits > _MOST_BITS or (x.key in factors and len(factors) == 1):
            return x
        ordered = tuple(factors[key] for key in sorted(factors))
        return Value(
            x.key,
            x.terms,
            x.number,
            x.scalar,
            x.uses,
            x.degree,
            x.wild,
            x.total,
            coefficient,
            ordered,
        )

    def _with_common_factors(self, total: Value, x: Value, y: Value) -> Value:
        """A sum as the factors that its terms share, times what is left."""
        (a, left), (b, right) = self._factored(x), self._factored(y)
        one: _Factors = {base.key: (base, exponent) for base, exponent in left}
        other: _Factors = {base.key: (base, exponent) for base, exponent in right}
        for base, _ in [*one.values(), *other.values()]:
            inside = self._radicand(base)
            if inside is not None:
                for side in (one, other):
                    _, power = side.get(inside.key, (inside, 0))
                    _multiply(side, inside, -power)
                    _multiply(side, base, 2 * power)
        if {k: e for k, (_, e) in one.items()} == {k: e for k, (_, e) in other.items()}:
            return self._with_factors(total, *self._settled(a + b, one))
        shared: _Factors = {}
        for key, (base, _) in (one | other).items():
            exponents = (one.get(key, (base, 0))[1], other.get(key, (base, 0))[1])
            _multiply(shared, base, min(exponents))
        content = Fraction(
            gcd(a.numerator * b.denominator, b.numerator * a.denominator),
            a.denominator * b.denominator,
        )
        if not shared and content == 1:
            return total
        content, shared = self._settled(content, shared)
        common = self.number(content)
        for base, exponent in shared.values():
            common = self.mul(common, self.power(base, exponent))
        try:
            terms = self._product(total.terms, self._inverse_of(common.terms))
        except _TooLargeError:
            return total
        rest = self._made(terms, (total, common), total.degree + common.degree, "rest")
        if all(self.is_(base, POSITIVE) for base, _ in shared.values()):
            self.knowing(rest, self.facts(total) & POSITIVE)
        if rest.number is not None:
            content *= rest.number
        else:
            _multiply(shared, rest, 1)
        return self._with_factors(total, *self._settled(content, shared))


def _multiply(factors: _Factors, base: Value, power: int) -> None:
    """Multiply by a power, in place."""
    _, before = factors.pop(base.key, (base, 0))
    if before + power:
        factors[base.key] = (base, before + power)


def _key_of(x: Value) -> str:
    return x.key
