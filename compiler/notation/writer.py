"""What the writers of formulas share: how tightly each form binds, and where brackets go."""

from abc import ABC, abstractmethod
from typing import assert_never

from .symbols import PREFIXES, RELATIONS
from .tree import (
    Call,
    Cases,
    Fence,
    Formula,
    Fraction,
    Infix,
    Number,
    Power,
    Prefix,
    Root,
    Sign,
    Symbol,
    Words,
)

ATOM = 16
"""The strength of what never needs brackets."""

POWER = 14
PRODUCT = 12
QUOTIENT = 11
"""Of a slash in a line: `a / b c` would not say whether c is below."""

_SUM = 10
_MINUS = 9
"""Of what begins with a minus: it may begin a sum, and needs brackets behind a sign."""

_COMPARES = 6


class Writer(ABC):
    """Writes formulas. Each form gives its text and how tightly that binds."""

    def write(self, formula: Formula, strength: int = 0) -> str:
        """The formula, in brackets where it binds less tightly than `strength`."""
        text, own = self._form(formula)
        return self._bracketed(text) if own < strength else text

    def _form(self, formula: Formula) -> tuple[str, int]:
        match formula:
            case Symbol():
                return self._symbol(formula), ATOM
            case Number(value):
                return self._number(value), _strength(value)
            case Words(text):
                return self._words(text), ATOM
            case Sign(glyph):
                return self._sign(glyph), ATOM
            case Infix(glyph, left, right):
                return self._operator(glyph, left, right)
            case Prefix(glyph, operand):
                # A sum behind a minus needs brackets, a product does not.
                binding = PREFIXES[glyph][1]
                within = PRODUCT if glyph == "-" else ATOM
                return self._prefix(glyph, self.write(operand, within)), min(binding, _MINUS)
            case Fraction(above, below):
                return self._fraction(above, below)
            case Power(base, exponent):
                return self._power(base, exponent)
            case Root(operand):
                return self._root(operand), ATOM
            case Fence(glyph, operands, below):
                written = [self.write(operand) for operand in operands]
                return self._fence(glyph, written, below), ATOM
            case Call(name, operands, below):
                written = [self.write(operand) for operand in operands]
                return self._call(name, written, below), ATOM
            case Cases():
                return self._cases(formula)
            case _:
                assert_never(formula)

    def _operator(self, glyph: str, left: Formula, right: Formula) -> tuple[str, int]:
        _, binding = RELATIONS[glyph]
        # Comparisons do not chain, and what is subtracted needs its brackets.
        before = {_COMPARES: binding + 1, _SUM: _MINUS}.get(binding, binding)
        after = binding if glyph in ("+", "∧", "∨") else binding + 1
        if glyph == "·":
            after = binding
        return self._infix(glyph, self.write(left, before), self.write(right, after)), binding

    @abstractmethod
    def _bracketed(self, text: str) -> str:
        """A formula in round brackets."""

    @abstractmethod
    def _symbol(self, symbol: Symbol) -> str:
        """A symbol with what stands around it."""

    @abstractmethod
    def _number(self, value: float) -> str:
        """A literal."""

    @abstractmethod
    def _words(self, text: str) -> str:
        """Words inside a formula; the text may come from a spec."""

    @abstractmethod
    def _sign(self, glyph: str) -> str:
        """A sign of its own."""

    @abstractmethod
    def _infix(self, glyph: str, left: str, right: str) -> str:
        """Two operands that have the brackets that they need."""

    @abstractmethod
    def _prefix(self, glyph: str, operand: str) -> str:
        """An operand that has the brackets that it needs."""

    @abstractmethod
    def _fraction(self, above: Formula, below: Formula) -> tuple[str, int]:
        """A quotient."""

    @abstractmethod
    def _power(self, base: Formula, exponent: Formula) -> tuple[str, int]:
        """A power."""

    @abstractmethod
    def _root(self, operand: Formula) -> str:
        """A square root."""

    @abstractmethod
    def _fence(self, glyph: str, operands: list[str], below: str) -> str:
        """A norm, an absolute value or an inner product."""

    @abstractmethod
    def _call(self, name: str, operands: list[str], below: str) -> str:
        """A function."""

    @abstractmethod
    def _cases(self, cases: Cases) -> tuple[str, int]:
        """A choice."""


def _strength(value: float) -> int:
    """How tightly a literal binds: `-2` and `3×10⁻⁴` are no atoms."""
    if isinstance(value, bool):
        return ATOM
    digits, power = decimal(value)
    if value < 0:
        return _MINUS
    return ATOM if not power else POWER if digits == "1" else PRODUCT


def decimal(value: float) -> tuple[str, str]:
    """The digits and the power of ten of a number, `("3", "-4")`; no power where none is needed.

    >>> decimal(0.0003), decimal(10000), decimal(1e-08), decimal(-2.5)
    (('3', '-4'), ('10000', ''), ('1', '-8'), ('-2.5', ''))
    """
    text = repr(value).removesuffix(".0")
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        text = f"{value:e}" if float(f"{value:e}") == value else text
    digits, _, power = text.partition("e")
    digits = digits.rstrip("0").removesuffix(".") if power and "." in digits else digits
    return digits, str(int(power)) if power else ""
