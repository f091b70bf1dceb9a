"""Formulas in one line of Unicode."""

from .symbols import LETTERS
from .tree import Cases, Formula, Fraction, Number, Sign, Symbol
from .writer import ATOM, POWER, PRODUCT, QUOTIENT, Writer, decimal

_BELOW = dict(zip("0123456789+-t,aehijklmnoprsuvx", "₀₁₂₃₄₅₆₇₈₉₊₋ₜ,ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛᵤᵥₓ", strict=True))
_ABOVE = dict(zip("0123456789+-t", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵗ", strict=True))
_ACCENTS = {"": "", "hat": "\N{COMBINING CIRCUMFLEX ACCENT}", "tilde": "\N{COMBINING TILDE}"}


class TextWriter(Writer):
    """Formulas in one line of Unicode."""

    def _bracketed(self, text: str) -> str:
        return f"({text})"

    def _symbol(self, symbol: Symbol) -> str:
        letter = LETTERS[symbol.base][0] if symbol.base in LETTERS else symbol.base
        text = letter + _ACCENTS[symbol.accent]
        small = [p for p in symbol.below if len(p) < 3 and all(c in _BELOW for c in p)]
        large = [part for part in symbol.below if part not in small]
        text += "".join(f"_{part}" for part in large)
        marks = [*small, *([symbol.time] if symbol.time else [])]
        return text + "".join(_BELOW[c] for c in ",".join(marks))

    def _number(self, value: float) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if value in (float("inf"), -float("inf")):
            return "∞" if value > 0 else "−∞"
        digits, power = decimal(value)
        digits = digits.replace("-", "−")
        if not power:
            return digits
        tens = "10" + "".join(_ABOVE[c] for c in power)
        return {"1": tens, "−1": f"−{tens}"}.get(digits, f"{digits}×{tens}")

    def _words(self, text: str) -> str:
        return text

    def _sign(self, glyph: str) -> str:
        return glyph

    def _infix(self, glyph: str, left: str, right: str) -> str:
        if glyph == "·":
            return f"{left} · {right}" if right[0] in "0123456789" else f"{left} {right}"
        return f"{left} {glyph.replace('-', '−')} {right}"

    def _prefix(self, glyph: str, operand: str) -> str:
        return f"{glyph.replace('-', '−')}{operand}"

    def _fraction(self, above: Formula, below: Formula) -> tuple[str, int]:
        return f"{self.write(above, PRODUCT)} / {self.write(below, PRODUCT + 1)}", QUOTIENT

    def _power(self, base: Formula, exponent: Formula) -> tuple[str, int]:
        shown = self.write(base, ATOM)
        if isinstance(exponent, Number) and isinstance(exponent.value, int | float):
            digits, power = decimal(exponent.value)
            if not power and all(c in _ABOVE for c in digits):
                return shown + "".join(_ABOVE[c] for c in digits), POWER
        if exponent == Symbol("t"):
            return f"{shown}ᵗ", POWER
        if exponent == Sign("⊤"):
            return f"{shown}ᵀ", POWER
        if isinstance(exponent, Fraction):
            return (
                f"{shown}^({self.write(exponent.above)}/{self.write(exponent.below, ATOM)})",
                POWER,
            )
        return f"{shown}^{self.write(exponent, ATOM)}", POWER

    def _root(self, operand: Formula) -> str:
        return f"√{self.write(operand, ATOM)}"

    def _fence(self, glyph: str, operands: list[str], below: str) -> str:
        left, right = glyph[0], glyph[1]
        return f"{left}{', '.join(operands)}{right}" + (f"_{below}" if below else "")

    def _call(self, name: str, operands: list[str], below: str) -> str:
        shown = name.replace(" ", "_") + (f"_{below}" if below else "").replace(" ", "_")
        return f"{shown}({', '.join(operands)})"

    def _cases(self, cases: Cases) -> tuple[str, int]:
        rows = [f"{self.write(v)} if {self.write(c)}" for v, c in cases.rows]
        return "; ".join([*rows, f"{self.write(cases.otherwise)} otherwise"]), 0
