r"""Formulas and boxes in LaTeX. A box needs the packages amsmath and amssymb, and nothing else.

It is a `tabbing` between rules: it breaks across pages and columns, and its lines are plain to
edit. What comes from a spec is escaped, character by character.
"""

from typing import assert_never

from ..records import Stage
from .box import (
    Assign,
    Body,
    Box,
    Count,
    If,
    Let,
    Repeat,
    Report,
    Statement,
    Where,
    heading,
)
from .symbols import LETTERS, PREFIXES, RELATIONS, SIGNS
from .tree import Cases, Formula, Symbol
from .writer import ATOM, POWER, PRODUCT, Writer, decimal

_SPECIAL = {
    **{c: f"\\{c}" for c in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": r"{-}",
}
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
        return rf"\text{{{hyphened(text)}}}"

    def _sign(self, glyph: str) -> str:
        return SIGNS[glyph][1] if glyph in SIGNS else self._words(glyph)

    def _infix(self, glyph: str, left: str, right: str) -> str:
        if glyph == "·":
            joint = r" \cdot " if right[0].isdigit() else r" \mskip2mu "
            return f"{left}{joint}{right}"
        return f"{left} {RELATIONS[glyph][0]} {right}"

    def _prefix(self, glyph: str, operand: str) -> str:
        return f"{PREFIXES[glyph][0]}{operand}"

    def _fraction(self, above: Formula, below: Formula) -> tuple[str, int]:
        return rf"\frac{{{self.write(above)}}}{{{self.write(below)}}}", PRODUCT

    def _power(self, base: Formula, exponent: Formula) -> tuple[str, int]:
        return f"{self.write(base, ATOM)}^{{{self.write(exponent)}}}", POWER

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
        return SIGNS[name][1] if name in SIGNS else rf"\operatorname{{{hyphened(name)}}}"

    def _below(self, below: str) -> str:
        return f"_{{{self._words(below)}}}" if below else ""

    def _cases(self, cases: Cases) -> tuple[str, int]:
        rows = [rf"{self.write(v)} & \text{{if }} {self.write(c)}" for v, c in cases.rows]
        rows.append(rf"{self.write(cases.otherwise)} & \text{{otherwise}}")
        return r"\begin{cases} " + r" \cr ".join(rows) + r" \end{cases}", 0


def escaped(text: str) -> str:
    """A text of a spec as LaTeX shows it; what no font has is left out."""
    return "".join(_SPECIAL.get(c, c) for c in text if c.isascii() and c.isprintable())


def hyphened(text: str) -> str:
    """A name of several words, as mathematics sets it: `max_dist` is max-dist."""
    return escaped(text.replace("_", "-"))


_WRITER = LatexWriter()

_PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{lmodern}
\usepackage{amsmath, amssymb}
\usepackage[margin=22mm]{geometry}
\pagestyle{empty}
\begin{document}
"""


def latex(box: Box, *, standalone: bool = False) -> str:
    """A box as LaTeX; `standalone` makes it a whole document."""
    rows = [
        "% Needs \\usepackage{amsmath, amssymb}.",
        r"\begingroup",
        r"\setlength{\parindent}{0pt}\setlength{\parskip}{2pt}",
        r"\hrule height 0.8pt \vskip 3pt",
        rf"\textbf{{Algorithm}} \texttt{{{escaped(box.name)}}}" + _title(box),
        r"\vskip 2pt \hrule height 0.4pt \vskip 3pt",
        *_given(box),
        *_Body(box).rows(),
        r"\hrule height 0.8pt",
        r"\endgroup",
    ]
    text = "\n".join(rows) + "\n"
    return _PREAMBLE + text + "\\end{document}\n" if standalone else text


def _title(box: Box) -> str:
    return rf"\quad {prose(box.title)}" if box.title else ""


def prose(text: str) -> str:
    """Words of a docstring, its `code` in typewriter."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escaped(text)
    return "".join(
        rf"\texttt{{{escaped(part)}}}" if number % 2 else escaped(part)
        for number, part in enumerate(parts)
    )


def _given(box: Box) -> list[str]:
    rows = []
    if box.inputs:
        given = []
        for each in box.inputs:
            value = f" = {_WRITER.write(each.default)}" if each.default is not None else ""
            name = rf" (\texttt{{{escaped(each.name)}}})"
            given.append(f"${_WRITER.write(each.symbol)}{value}${name}")
        rows.append(rf"\textbf{{given}}\quad {', '.join(given)}\par")
    if box.states:
        states = (
            f"${_WRITER.write(each.symbol)} = {_WRITER.write(each.start)}$"
            + (f" ({escaped(each.note)})" if each.note else "")
            for each in box.states
        )
        rows.append(rf"\textbf{{state}}\quad {', '.join(states)}\par")
    for group in box.groups:
        rows.append(rf"\textbf{{group {escaped(group.name)}}}\quad {escaped(group.where)}\par")
    return rows


class _Body:
    """Writes the statements of a box as lines of a `tabbing`."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._deepest = 1

    def rows(self) -> list[str]:
        """The step and the evaluation, in one `tabbing` with a stop for each indentation."""
        lines = [r"\textbf{for} $t = 1, 2, \dots$ \textbf{do}\\"]
        lines += self._body(self._box.step, 1, None)
        if self._box.evaluation:
            lines += [r"\textbf{to evaluate}\\", *self._body(self._box.evaluation, 1, None)]
        stops = r"\hspace{1.2em}\=" * (self._deepest + 1)
        lines[-1] = lines[-1].removesuffix(r"\\").removesuffix(r"\\[2pt]")
        return [r"\begin{tabbing}", rf"{stops}\kill", *lines, r"\end{tabbing}"]

    def _body(self, body: Body, indent: int, around: Stage | None) -> list[str]:
        rows = []
        for part in body:
            stage = part.stage or around
            if part.stage is not None and part.stage != around:
                shown = escaped(heading(part.stage, self._box.file))
                rows.append(rf"{self._at(indent)}\textit{{\footnotesize\ttfamily {shown}}}\\[1pt]")
            for statement in part.statements:
                rows += self._statement(statement, indent, stage)
            if not part.statements:
                rows.append(rf"{self._at(indent)}nothing of its own\\[2pt]")
        return rows

    def _at(self, indent: int) -> str:
        self._deepest = max(self._deepest, indent)
        return r"\>" * indent

    def _statement(self, statement: Statement, indent: int, stage: Stage | None) -> list[str]:
        space = self._at(indent)
        match statement:
            case Let(constants):
                pairs = (f"${_WRITER.write(s)} = {_WRITER.write(v)}$" for s, v in constants)
                return [rf"{space}with {', '.join(pairs)}\\[2pt]"]
            case Assign():
                return [rf"{space}$\displaystyle {assignment(statement)}$\\[2pt]"]
            case Report(name, value):
                return [
                    rf"{space}report \texttt{{{escaped(name)}}} ${_WRITER.write(value)}$\\[2pt]"
                ]
            case Count(condition):
                return [rf"{space}the step counts if ${_WRITER.write(condition)}$\\[2pt]"]
            case If(condition, then, otherwise):
                rows = [
                    rf"{space}\textbf{{if}} ${_WRITER.write(condition)}$ \textbf{{then}}\\[2pt]"
                ]
                rows += self._body(then, indent + 1, stage)
                if otherwise:
                    rows.append(rf"{space}\textbf{{else}}\\[2pt]")
                    rows += self._body(otherwise, indent + 1, stage)
                return rows
            case Repeat(count, condition, body):
                tested = (
                    rf" \textbf{{while}} ${_WRITER.write(condition)}$"
                    if condition is not None
                    else ""
                )
                head = rf"{space}\textbf{{repeat}} ${_WRITER.write(count)}$ \textbf{{times}}{tested}\\[2pt]"
                return [head, *self._body(body, indent + 1, stage)]
            case Where(tensors, inner):
                rows = [rf"{space}\textbf{{for}} {escaped(tensors)} \textbf{{do}}\\[2pt]"]
                for each in inner:
                    rows += self._statement(each, indent + 1, stage)
                return rows
            case _:
                assert_never(statement)


def assignment(statement: Assign, align: str = "") -> str:
    """`m_t \\gets ...`; `align` stands before the arrow."""
    targets = ", ".join(map(_WRITER.write, statement.targets))
    values = ", ".join(map(_WRITER.write, statement.values))
    arrow = r"\sim" if statement.drawn else r"\gets"
    return f"{targets} {align}{arrow} {values}"
