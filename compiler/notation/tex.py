"""Formulas in the mathematics of LaTeX."""

import re

from .symbols import LETTERS, PREFIXES, RELATIONS, SIGNS
from .tree import Cases, Formula, Fraction, Number, Symbol
from .writer import ATOM, POWER, PRODUCT, Writer, decimal

_SPECIAL = {
    **{c: f"\\{c}" for c in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"${RELATIONS[sign][0]}$" for sign in "≤≥≠"},
}
"""What LaTeX reads as its own. Two hyphens would become a dash; see `escaped`."""

_RELATIONS = {sign: RELATIONS[sign][0] for sign in ("<", "≤", ">", "≥", "=", "≠")}
_ENDS_IN_WORDS = re.compile(r"\\text\{[^{}]*\}$")
_ACCENTS = {"hat": r"\hat", "tilde": r"\tilde"}
_FENCES = {
    "||": (r"\lvert ", r"\rvert"),
    "‖‖": (r"\lVert ", r"\rVert"),
    "⟨⟩": (r"\langle ", r"\rangle"),
}


class LatexWriter(Writer):
    r"""Formulas in the mathematics of LaTeX with amsmath.

    No command is a backslash before a sign (`\,`, `\{`), which Markdown would take for its own.
    """

    def _bracketed(self, text: str) -> str:
        tall = r"\frac" in text or r"\sqrt" in text or r"\begin" in text
        return rf"\left( {text} \right)" if tall else f"({text})"

    def _symbol(self, symbol: Symbol) -> str:
        if symbol.base in LETTERS:
            letter = LETTERS[symbol.base][1]
        else:
            letter = symbol.base if len(symbol.base) == 1 else self._words(symbol.base)
        if symbol.accent:
            letter = f"{_ACCENTS[symbol.accent]}{{{letter}}}"
        below = [
            part if len(part) == 1 or part.isdigit() else self._words(part) for part in symbol.below
        ]
        below += [symbol.time] if symbol.time else []
        return f"{letter}_{{{', '.join(below)}}}" if below else letter

    def _number(self, value: float) -> str:
        if isinstance(value, bool):
            return self._words(str(value).lower())
        if value in (float("inf"), -float("inf")):
            return r"\infty" if value > 0 else r"-\infty"
        digits, power = decimal(value)
        if not power:
            return digits
        tens = f"10^{{{power}}}"
        return {"1": tens, "-1": f"-{tens}"}.get(digits, rf"{digits} \times {tens}")

    def _words(self, text: str) -> str:
        if '"' in text:
            return rf"\text{{{self._quoted(text)}}}"
        parts = (part.strip() for part in re.split("([<≤>≥=≠])", text))
        return " ".join(
            _RELATIONS[part] if part in _RELATIONS else self._text(part) for part in parts if part
        )

    def _quoted(self, text: str) -> str:
        """Words with a string of a spec in them, which keeps its letters."""
        return escaped(text)

    def _text(self, text: str) -> str:
        return rf"\text{{{hyphened(text)}}}"

    def _sign(self, glyph: str) -> str:
        return SIGNS[glyph][1] if glyph in SIGNS else self._words(glyph)

    def _infix(self, glyph: str, left: str, right: str) -> str:
        if glyph == "·":
            if right[0].isdigit():
                return rf"{left} \cdot {right}"
            words = _ENDS_IN_WORDS.search(left) or right.startswith(r"\text")
            space = r"\thickspace" if words else r"\thinspace"
            return f"{left} {space} {right}"
        return f"{left} {RELATIONS[glyph][0]} {right}"

    def _prefix(self, glyph: str, operand: str) -> str:
        return f"{PREFIXES[glyph][0]}{operand}"

    def _fraction(self, above: Formula, below: Formula) -> tuple[str, int]:
        return rf"\frac{{{self.write(above)}}}{{{self.write(below)}}}", PRODUCT

    def _power(self, base: Formula, exponent: Formula) -> tuple[str, int]:
        match exponent:
            case Fraction(Number() as above, Number() as below):  # on one line up there
                raised = f"{self.write(above)}/{self.write(below, ATOM)}"
            case _:
                raised = self.write(exponent)
        return f"{self.write(base, ATOM)}^{{{raised}}}", POWER

    def _root(self, operand: Formula) -> str:
        return rf"\sqrt{{{self.write(operand)}}}"

    def _fence(self, glyph: str, operands: list[str], below: str) -> str:
        left, right = _FENCES[glyph]
        inside = ", ".join(operands)
        if r"\frac" in inside:
            left, right = rf"\left{left}", rf"\right{right}"
        return f"{left}{inside} {right}" + self._below(below)

    def _call(self, name: str, operands: list[str], below: str) -> str:
        inside = ", ".join(operands)
        return f"{self._function(name)}{self._below(below)}{self._bracketed(inside)}"

    def _function(self, name: str) -> str:
        return SIGNS[name][1] if name in SIGNS else rf"\operatorname{{{self.letters(name)}}}"

    def letters(self, name: str) -> str:
        """Words between the braces of a command."""
        return hyphened(name)

    def _below(self, below: str) -> str:
        return f"_{{{self._words(below)}}}" if below else ""

    def _cases(self, cases: Cases) -> tuple[str, int]:
        rows = [rf"{self.write(v)} & \text{{if }} {self.write(c)}" for v, c in cases.rows]
        rows.append(rf"{self.write(cases.otherwise)} & \text{{otherwise}}")
        return r"\begin{cases} " + r" \cr ".join(rows) + r" \end{cases}", 0


def escaped(text: str) -> str:
    """A text of a spec as LaTeX shows it; what no font has is left out."""
    shown = "".join(_SPECIAL.get(c) or _ascii(c) for c in text)
    return shown.replace("--", "-{}-").replace("--", "-{}-")


def _ascii(c: str) -> str:
    return c if c.isascii() and c.isprintable() else ""


def hyphened(text: str) -> str:
    """A name of several words, as mathematics sets it: `max_dist` is max-dist."""
    return escaped(text.replace("_", "-"))
