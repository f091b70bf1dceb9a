"""Formulas in MathML, which browsers set without scripts or fonts of their own."""

from html import escape

from .symbols import LETTERS, RELATIONS, SIGNS
from .tree import Cases, Formula, Symbol
from .writer import ATOM, POWER, PRODUCT, Writer, decimal

_ACCENTS = {"hat": "^", "tilde": "~"}
_FENCES = {"||": ("|", "|"), "‖‖": ("‖", "‖"), "⟨⟩": ("⟨", "⟩")}
_SPACE = '<mspace width="0.17em"/>'


class MathmlWriter(Writer):
    """Formulas as MathML Core. Each result is one element."""

    def _bracketed(self, text: str) -> str:
        return f"<mrow><mo>(</mo>{text}<mo>)</mo></mrow>"

    def _symbol(self, symbol: Symbol) -> str:
        letter = LETTERS[symbol.base][0] if symbol.base in LETTERS else symbol.base
        shown = _name(letter)
        if symbol.accent:
            mark = f'<mo stretchy="false">{_ACCENTS[symbol.accent]}</mo>'
            shown = f'<mover accent="true">{shown}{mark}</mover>'
        below = [_name(part) if not part.isdigit() else f"<mn>{part}</mn>" for part in symbol.below]
        if symbol.time:
            below.append(_TIMES[symbol.time])
        if not below:
            return shown
        return f"<msub>{shown}<mrow>{'<mo>,</mo>'.join(below)}</mrow></msub>"

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
        return f"<mi>{escape(glyph)}</mi>" if glyph in SIGNS else self._words(glyph)

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
        return f"<msup>{self.write(base, ATOM)}{self.write(exponent)}</msup>", POWER

    def _root(self, operand: Formula) -> str:
        return f"<msqrt>{self.write(operand)}</msqrt>"

    def _fence(self, glyph: str, operands: list[str], below: str) -> str:
        left, right = _FENCES[glyph]
        row = (
            f'<mrow><mo form="prefix" stretchy="true">{left}</mo>{"<mo>,</mo>".join(operands)}'
            f'<mo form="postfix" stretchy="true">{right}</mo></mrow>'
        )
        return f"<msub>{row}{self._words(below)}</msub>" if below else row

    def _call(self, name: str, operands: list[str], below: str) -> str:
        head = f"<mi>{escape(name)}</mi>" if name in SIGNS else self._words(name)
        head = f"<msub>{head}{self._words(below)}</msub>" if below else head
        return f"<mrow>{head}{self._bracketed('<mo>,</mo>'.join(operands))}</mrow>"

    def _cases(self, cases: Cases) -> tuple[str, int]:
        rows = [(self.write(v), f"<mtext>if </mtext>{self.write(c)}") for v, c in cases.rows]
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


def _name(word: str) -> str:
    return f"<mi>{escape(word)}</mi>"
