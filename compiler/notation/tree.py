"""Formulas as they are set: small trees that text, LaTeX and MathML write alike.

A formula says how a value looks and not how it is computed: there is one form for a fraction and
one for a product, and none for the ops. Brackets are not part of it, since each writer needs
others: `a / (b + c)` in a line is a fraction without brackets on paper.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Time = Literal["", "0", "t-1", "t"]
"""Of which step a symbol speaks: the fresh state, before this step, after it; or none."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A letter or a word, with what stands above and below it.

    `base` is a key of `symbols.LETTERS`, a Latin letter, or a word; `below` are its subscripts.
    """

    base: str
    accent: Literal["", "hat", "tilde"] = ""
    below: tuple[str, ...] = ()
    time: Time = ""


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: int | float | bool


@dataclass(frozen=True, slots=True)
class Words:
    """A text that is no mathematics: quoted strings, `otherwise`."""

    text: str


@dataclass(frozen=True, slots=True)
class Sign:
    """A name or sign of its own: `N(0, I)`, `NaN`, `ndim`."""

    glyph: str


@dataclass(frozen=True, slots=True)
class Infix:
    """Two operands with a sign between them."""

    glyph: str
    left: "Formula"
    right: "Formula"


@dataclass(frozen=True, slots=True)
class Prefix:
    """A sign before its operand."""

    glyph: str
    operand: "Formula"


@dataclass(frozen=True, slots=True)
class Fraction:
    """One above the other, or a slash between them."""

    above: "Formula"
    below: "Formula"


@dataclass(frozen=True, slots=True)
class Power:
    """A base and its exponent."""

    base: "Formula"
    exponent: "Formula"


@dataclass(frozen=True, slots=True)
class Root:
    """A square root."""

    operand: "Formula"


@dataclass(frozen=True, slots=True)
class Fence:
    """Operands between the two signs of `glyph`; `below` says for what part."""

    glyph: str
    operands: "tuple[Formula, ...]"
    below: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of its operands; `below` says for what part."""

    name: str
    operands: "tuple[Formula, ...]"
    below: str = ""


@dataclass(frozen=True, slots=True)
class Cases:
    """Values with their conditions, and the value of all other cases."""

    rows: "tuple[tuple[Formula, Formula], ...]"
    otherwise: "Formula"


Formula = (
    Symbol | Number | Words | Sign | Infix | Prefix | Fraction | Power | Root | Fence | Call | Cases
)


def parts(formula: Formula) -> tuple[Formula, ...]:
    """The formulas that a formula is made of."""
    match formula:
        case Symbol() | Number() | Words() | Sign():
            return ()
        case Infix(_, left, right):
            return left, right
        case Prefix(_, operand) | Root(operand):
            return (operand,)
        case Fraction(one, other) | Power(one, other):
            return one, other
        case Fence(_, operands) | Call(_, operands):
            return operands
        case Cases(rows, otherwise):
            return (*(each for row in rows for each in row), otherwise)


def symbols(formula: Formula) -> Iterator[Symbol]:
    """Every symbol in a formula, from left to right."""
    if isinstance(formula, Symbol):
        yield formula
    for part in parts(formula):
        yield from symbols(part)
