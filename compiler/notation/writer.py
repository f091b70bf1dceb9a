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

_COMPARES = 6


class Writer(ABC):
    """Writes formulas. Each form gives its text and how tightly that binds."""

    def write(self, formula: Formula, strength: int = 0) -> str:
        """The formula, in brackets where it binds less tightly than `strength`."""
        text, own = self._form(formula)
        return self.bracketed(text) if own < strength else text

    def _form(self, formula: Formula) -> tuple[str, int]:
        match formula:
            case Symbol():
                return self.symbol(formula), ATOM
            case Number(value):
                negative = not isinstance(value, bool) and value < 0
                return self.number(value), PREFIXES["-"][1] if negative else ATOM
            case Words(text):
                return self.words(text), ATOM
            case Sign(glyph):
                return self.sign(glyph), ATOM
            case Infix(glyph, left, right):
                return self._infix(glyph, left, right)
            case Prefix(glyph, operand):
                # A sum behind a minus needs brackets, a product does not.
                binding = PREFIXES[glyph][1]
                within = PRODUCT if glyph == "-" else ATOM
                return self.prefix(glyph, self.write(operand, within)), min(binding, 11)
            case Fraction(above, below):
                return self.fraction(above, below)
            case Power(base, exponent):
                return self.power(base, exponent)
            case Root(operand):
                return self.root(operand), ATOM
            case Fence(glyph, operands, below):
                written = [self.write(operand) for operand in operands]
                return self.fence(glyph, written, below), ATOM
            case Call(name, operands, below):
                written = [self.write(operand) for operand in operands]
                return self.call(name, written, below), ATOM
            case Cases():
                return self.cases(formula)
            case _:
                assert_never(formula)

    def _infix(self, glyph: str, left: Formula, right: Formula) -> tuple[str, int]:
        _, binding = RELATIONS[glyph]
        # Comparisons do not chain, and what is subtracted needs its brackets.
        before = binding + 1 if binding == _COMPARES else binding
        after = binding if glyph in ("+", "∧", "∨") else binding + 1
        if glyph == "·":
            after = binding
        return self.infix(glyph, self.write(left, before), self.write(right, after)), binding

    @abstractmethod
    def bracketed(self, text: str) -> str:
        """A formula in round brackets."""

    @abstractmethod
    def symbol(self, symbol: Symbol) -> str:
        """A symbol with what stands around it."""

    @abstractmethod
    def number(self, value: float) -> str:
        """A literal."""

    @abstractmethod
    def words(self, text: str) -> str:
        """Words inside a formula; the text may come from a spec."""

    @abstractmethod
    def sign(self, glyph: str) -> str:
        """A sign of its own."""

    @abstractmethod
    def infix(self, glyph: str, left: str, right: str) -> str:
        """Two operands that have the brackets that they need."""

    @abstractmethod
    def prefix(self, glyph: str, operand: str) -> str:
        """An operand that has the brackets that it needs."""

    @abstractmethod
    def fraction(self, above: Formula, below: Formula) -> tuple[str, int]:
        """A quotient."""

    @abstractmethod
    def power(self, base: Formula, exponent: Formula) -> tuple[str, int]:
        """A power."""

    @abstractmethod
    def root(self, operand: Formula) -> str:
        """A square root."""

    @abstractmethod
    def fence(self, glyph: str, operands: list[str], below: str) -> str:
        """A norm, an absolute value or an inner product."""

    @abstractmethod
    def call(self, name: str, operands: list[str], below: str) -> str:
        """A function."""

    @abstractmethod
    def cases(self, cases: Cases) -> tuple[str, int]:
        """A choice."""


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
