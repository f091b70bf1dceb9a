"""Formulas in MathML, which browsers set without scripts or fonts of their own."""

from html import escape

from .symbols import LETTERS, RELATIONS, SIGNS
from .tree import Cases, Formula, Fraction, Number, Symbol
from .writer import ATOM, POWER, PRODUCT, Writer, decimal

_ACCENTS = {"hat": "^", "tilde": "~"}
_SPACE = '<mspace width="0.17em"/>'


class MathmlWriter(Writer):
    """Formulas as MathML Core. Each result is one element."""

    def _bracketed(self, text: str) -> str:
        return f"<mrow>{_fence('(', 'prefix', text)}{text}{_fence(')', 'postfix', text)}</mrow>"

    def _symbol(self, symbol: Symbol) -> str:
        shown, below = self._letter(symbol)
        return f"<msub>{shown}{below}</msub>" if below else shown

    def _letter(self, symbol: Symbol) -> tuple[str, str]:
        """A letter with its accent, and what stands below it."""
        shown = _name(LETTERS[symbol.base][0] if symbol.base in LETTERS else symbol.base)
        if symbol.accent:
            mark = f'<mo stretchy="false">{_ACCENTS[symbol.accent]}</mo>'
            shown = f'<mover accent="true">{shown}{mark}</mover>'
        below = [f"<mn>{part}</mn>" if part.isdigit() else _name(part) for part in symbol.below]
        if symbol.time:
            below.append(_TIMES[symbol.time])
        return shown, f"<mrow>{'<mo>,</mo>'.join(below)}</mrow>" if below else ""

    def _number(self, value: float) -> str:
        if isinstance(value, bool):
            return self._words(str(value).lower())
        if value in (float("inf"), -float("inf")):
            sign = "<mo>−</mo>" if value < 0 else ""
            return f"<mrow>{sign}<mi>∞</mi></mrow>"
        digits, power = decimal(value)
        shown = f"<mn>{digits.replace('-', '−')}</mn>"
        if not power:
            return shown
        tens = f"<msup><mn>10</mn><mn>{power.replace('-', '−')}</mn></msup>"
        if digits == "1":
            return tens
        return f"<mrow>{shown}<mo>×</mo>{tens}</mrow>"

    def _words(self, text: str) -> str:
        return f"<mtext>{escape(text)}</mtext>"

    def _sign(self, glyph: str) -> str:
        return _HEADS.get(glyph) or self._words(glyph)

    def _infix(self, glyph: str, left: str, right: str) -> str:
        if glyph == "·":
            joint = "<mo>·</mo>" if right.startswith("<mn>") else _SPACE
            return f"<mrow>{left}{joint}{right}</mrow>"
        shown = {"-": "−", "mod": "mod", "matches": "matches"}.get(glyph, glyph)
        assert glyph in RELATIONS
        return f"<mrow>{left}<mo>{escape(shown)}</mo>{right}</mrow>"

    def _prefix(self, glyph: str, operand: str) -> str:
        return f'<mrow><mo form="prefix">{glyph.replace("-", "−")}</mo>{operand}</mrow>'

    def _fraction(self, above: Formula, below: Formula) -> tuple[str, int]:
        return f"<mfrac>{self.write(above)}{self.write(below)}</mfrac>", PRODUCT

    def _power(self, base: Formula, exponent: Formula) -> tuple[str, int]:
        match exponent:
            case Fraction(Number() as over, Number() as under):  # on one line up there
                slashed = f"{self.write(over)}<mo>/</mo>{self.write(under, ATOM)}"
                above = f"<mrow>{slashed}</mrow>"
            case _:
                above = self.write(exponent)
        shown, below = self._letter(base) if isinstance(base, Symbol) else ("", "")
        if below:
            return f"<msubsup>{shown}{below}{above}</msubsup>", POWER
        return f"<msup>{self.write(base, ATOM)}{above}</msup>", POWER

    def _root(self, operand: Formula) -> str:
        return f"<msqrt>{self.write(operand)}</msqrt>"

    def _fence(self, glyph: str, operands: list[str], below: str) -> str:
        left, right = glyph[0], glyph[1]
        inside = "<mo>,</mo>".join(operands)
        ends = _fence(left, "prefix", inside), _fence(right, "postfix", inside)
        row = f"<mrow>{ends[0]}{inside}{ends[1]}</mrow>"
        return f"<msub>{row}{self._words(below)}</msub>" if below else row

    def _call(self, name: str, operands: list[str], below: str) -> str:
        head = _HEADS.get(name) or self._words(name)
        head = f"<msub>{head}{self._words(below)}</msub>" if below else head
        return f"<mrow>{head}{self._bracketed('<mo>,</mo>'.join(operands))}</mrow>"

    def _cases(self, cases: Cases) -> tuple[str, int]:
        rows = [(self.write(v), f"<mtext>if&nbsp;</mtext>{self.write(c)}") for v, c in cases.rows]
        rows.append((self.write(cases.otherwise), self._words("otherwise")))
        cells = "".join(
            f"<mtr><mtd>{value}</mtd><mtd><mrow>{condition}</mrow></mtd></mtr>"
            for value, condition in rows
        )
        brace = '<mo form="prefix" stretchy="true">{</mo>'
        return f'<mrow>{brace}<mtable class="cases">{cells}</mtable></mrow>', 0


_TIMES = {
    "0": "<mn>0</mn>",
    "t": "<mi>t</mi>",
    "t-1": "<mi>t</mi><mo>−</mo><mn>1</mn>",
}


_HEADS = {
    **{glyph: f"<mi>{escape(shown)}</mi>" for glyph, (shown, _) in SIGNS.items()},
    "∇L": "<mrow><mi>∇</mi><mi>L</mi></mrow>",
    "∇²L": "<mrow><msup><mi>∇</mi><mn>2</mn></msup><mi>L</mi></mrow>",
    "∇ℒ": "<mrow><mi>∇</mi><mi>ℒ</mi></mrow>",
    "∇²ℒ": "<mrow><msup><mi>∇</mi><mn>2</mn></msup><mi>ℒ</mi></mrow>",
    "∇ℓ": "<mrow><mi>∇</mi><mi>ℓ</mi></mrow>",
    "⊤": "<mo>⊤</mo>",
    "Jᵀ": "<msup><mi>J</mi><mo>⊤</mo></msup>",
    "N(0, I)": "<mrow><mi>𝒩</mi><mo>(</mo><mn>0</mn><mo>,</mo><mi>I</mi><mo>)</mo></mrow>",
    "N(0, 1)": "<mrow><mi>𝒩</mi><mo>(</mo><mn>0</mn><mo>,</mo><mn>1</mn><mo>)</mo></mrow>",
    "U[0, 1)": "<mrow><mi>𝒰</mi><mo>[</mo><mn>0</mn><mo>,</mo><mn>1</mn><mo>)</mo></mrow>",
    "±1": "<mrow><mo>±</mo><mn>1</mn></mrow>",
}
"""Signs and functions that mathematics knows; others are words."""


def _fence(sign: str, form: str, inside: str) -> str:
    """A bracket, as tall as what is inside where that is tall."""
    tall = any(f"<{tag}" in inside for tag in ("mfrac", "mtable", "msqrt"))
    stretchy = "true" if tall else "false"
    return f'<mo form="{form}" stretchy="{stretchy}" lspace="0" rspace="0">{sign}</mo>'


def _name(word: str) -> str:
    return f"<mi>{escape(word)}</mi>"
