r"""Boxes in LaTeX. A box needs the packages amsmath and amssymb, and nothing else.

It is a `tabbing` between rules: it breaks across pages, and its lines are plain to
edit. What comes from a spec is escaped, character by character.
"""

from textwrap import wrap
from typing import assert_never

from ..records import Stage
from .box import (
    Assign,
    Body,
    Box,
    Count,
    Examples,
    If,
    Input,
    Interval,
    Let,
    Part,
    Repeat,
    Report,
    State,
    Statement,
    Stop,
    Turns,
    Where,
    branches,
    heading,
    statements,
)
from .lines import width
from .tex import LatexWriter, escaped
from .tree import Cases, Formula, Fraction, Symbol

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
    title = rf"\quad {prose(box.title)}" if box.title else ""
    rows = [
        r"% Needs \usepackage{amsmath, amssymb}.",
        r"\begingroup",
        r"\setlength{\parindent}{0pt}\setlength{\parskip}{2pt}\raggedright",
        r"\setlength{\topsep}{4pt}\setlength{\partopsep}{0pt}",
        r"\par\addvspace{6pt}\hrule height 0.8pt \vskip 3pt",
        rf"\textbf{{Algorithm}} \texttt{{{escaped(box.name)}}}{title}\par",
        r"\vskip 2pt \hrule height 0.4pt \vskip 3pt",
        *_given(box),
        *_Body(box).rows(),
        r"\vskip 3pt \hrule height 0.8pt \vskip 6pt",
        r"\endgroup",
    ]
    text = "\n".join(rows) + "\n"
    return _PREAMBLE + text + "\\end{document}\n" if standalone else text


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
        rows.append(rf"\textbf{{given}}\quad {'; '.join(map(_input, box.inputs))}\par")
    if box.states:
        rows.append(rf"\textbf{{state}}\quad {'; '.join(map(_state, box.states))}\par")
    for group in box.groups:
        rows.append(rf"\textbf{{group {escaped(group.name)}}}\quad {escaped(group.where)}\par")
    for refusal in box.refusals:
        rows.append(rf"\textbf{{refused}}\quad {escaped(refusal)}\par")
    return rows


def _input(each: Input) -> str:
    formula = _WRITER.write(each.symbol)
    if each.default is not None:
        formula += f" = {_WRITER.write(each.default)}"
    notes = [rf"\texttt{{{escaped(each.name)}}}", *([each.kind] if each.kind else [])]
    return f"${formula}${interval(each.values)} ({', '.join(notes)})"


def interval(values: Interval | None) -> str:
    """What values a hyperparameter takes, as a formula behind it."""
    if values is None:
        return ""
    low, high = _WRITER.write(values.low), _WRITER.write(values.high)
    return rf" in ${values.opening}{low}, {high}{values.closing}$"


def _state(each: State) -> str:
    note = f" ({escaped(each.note)})" if each.note else ""
    return f"${_WRITER.write(each.symbol)} = {_WRITER.write(each.start)}${note}"


_BESIDE = 84
"""Characters of a formula and of the line of the spec that have room beside each other."""


_LONGEST = 90
"""Characters of a line of the spec that have room in a line."""


class _Body:
    """Writes the statements of a box as lines of a `tabbing`."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._deepest = 1
        every = [
            each for body in (box.start, box.step, box.evaluation) for each in statements(body)
        ]
        sides = [each.targets for each in every if isinstance(each, Assign)]
        narrow = [side[0] for side in sides if _is_narrow(side)]
        self._widest = max(narrow, key=width, default=None)

    def rows(self) -> list[str]:
        """The step and the evaluation, in one `tabbing` with a stop for each indentation."""
        lines = []
        if self._box.start:
            lines += [r"\textbf{to begin}", *self._body(self._box.start, 1, None)]
        lines += [r"\textbf{for} $t = 1, 2, \dots$ \textbf{do}"]
        lines += self._body(self._box.step, 1, None)
        if self._box.evaluation:
            lines += [r"\textbf{to evaluate}", *self._body(self._box.evaluation, 1, None)]
        stops = r"\hspace{1.2em}\=" * (self._deepest + 1)
        body = "\\\\[3pt]\n".join(lines)
        # The arrows stand below each other: the left sides are boxes of one width, in a length
        # that every class has and this group alone changes.
        room = (
            [rf"\settowidth{{\tabcolsep}}{{${_WRITER.write(self._widest)}$}}"]
            if self._widest
            else []
        )
        return [*room, r"\begin{tabbing}", rf"{stops}\kill", body, r"\end{tabbing}"]

    def _body(self, body: Body, indent: int, around: Stage | None) -> list[str]:
        rows: list[str] = []
        for part in body:
            stage = part.stage or around
            own = [
                line for each in part.statements for line in self._statement(each, indent, stage)
            ]
            if not own:
                own = [self._row(indent, "nothing of its own")]
            if part.stage is not None and part.stage != around:
                own = self._headed(heading(part.stage, self._box.file), own, part, indent)
            rows += own
        return rows

    def _headed(self, shown: str, rows: list[str], part: Part, indent: int) -> list[str]:
        """The line of the spec at the right, beside the first row where there is room."""
        first = part.statements[0] if part.statements else None
        taken = 20 if first is None else 4 * indent + _room(first)
        if taken + len(shown) <= _BESIDE:
            return [rows[0] + _mark(shown), *rows[1:]]
        pieces = wrap(shown, _LONGEST)
        return [*(_mark(piece, number == 0) for number, piece in enumerate(pieces)), *rows]

    def _row(self, indent: int, text: str) -> str:
        self._deepest = max(self._deepest, indent)
        return r"\>" * indent + text

    def _statement(self, statement: Statement, indent: int, stage: Stage | None) -> list[str]:
        match statement:
            case Let(constants):
                pairs = (f"${_WRITER.write(s)} = {_WRITER.write(v)}$" for s, v in constants)
                return [self._row(indent, f"with {', '.join(pairs)}")]
            case Assign():
                return [self._row(indent, self._assign(statement))]
            case Report(name, value, verb):
                said = rf"{verb} \texttt{{{escaped(name)}}}"
                if value != Symbol(name):
                    said += f" $= {_WRITER.write(value)}$"
                return [self._row(indent, said)]
            case Count(condition):
                return [self._row(indent, f"the step counts if ${_WRITER.write(condition)}$")]
            case Stop(unless):
                return [self._row(indent, rf"\textbf{{stop unless}} ${_WRITER.write(unless)}$")]
            case Examples(gradient, body):
                before, after = statement.words
                symbol = _WRITER.write(gradient)
                head = rf"\textbf{{for}} {before}${symbol}${after} \textbf{{do}}"
                return [self._row(indent, head), *self._body(body, indent + 1, stage)]
            case If():
                sides, last = branches(statement)
                rows = []
                for number, (condition, body) in enumerate(sides):
                    word = r"\textbf{else if}" if number else r"\textbf{if}"
                    head = rf"{word} ${_WRITER.write(condition)}$ \textbf{{then}}"
                    rows += [self._row(indent, head), *self._body(body, indent + 1, stage)]
                if last:
                    rows.append(self._row(indent, r"\textbf{else}"))
                    rows += self._body(last, indent + 1, stage)
                return rows
            case Repeat(count, condition, body):
                head = rf"\textbf{{repeat}} ${_WRITER.write(count)}$ \textbf{{times}}"
                if condition is not None:
                    head += rf" \textbf{{while}} ${_WRITER.write(condition)}$"
                return [self._row(indent, head), *self._body(body, indent + 1, stage)]
            case Turns(period, body, otherwise):
                shown = _WRITER.write(period)
                head = rf"\textbf{{every}} ${shown}$ \textbf{{steps}}, each tensor in its turn"
                rows = [self._row(indent, head), *self._body(body, indent + 1, stage)]
                if otherwise:
                    rows.append(self._row(indent, r"\textbf{else}"))
                    rows += self._body(otherwise, indent + 1, stage)
                return rows
            case Where(tensors, inner):
                rows = [self._row(indent, rf"\textbf{{for}} {escaped(tensors)} \textbf{{do}}")]
                for each in inner:
                    rows += self._statement(each, indent + 1, stage)
                return rows
            case _:
                assert_never(statement)

    def _assign(self, statement: Assign) -> str:
        left, right = sides(statement)
        if _is_narrow(statement.targets):
            return rf"\makebox[\tabcolsep][l]{{${left}$}} {_airy(f'{{}}{right}')}"
        return _airy(f"{left} {right}")


def _airy(formula: str) -> str:
    """A formula; one of several rows with some room above and below, which `tabbing` has not."""
    shown = rf"$\displaystyle {formula}$"
    if r"\frac" in formula or r"\begin" in formula:
        return rf"\raisebox{{0pt}}[\dimexpr\height+3pt][\dimexpr\depth+2pt]{{{shown}}}"
    return shown


def _mark(text: str, begins: bool = True) -> str:
    """A part of a line of the spec, at the right."""
    sign = r"$\triangleright$ " if begins else ""
    return rf"\`{{\footnotesize {sign}\texttt{{{escaped(text)}}}}}"


def _is_narrow(targets: tuple[Symbol, ...]) -> bool:
    return len(targets) == 1 and width(targets[0]) <= _NARROW


_NARROW = 6
"""Characters of a left side that the others are aligned with."""


def _room(statement: Statement) -> int:
    """About how many characters the first row of a statement takes."""
    match statement:
        case Let(constants):
            return sum(width(symbol) + width(value) + 4 for symbol, value in constants) + 5
        case Assign(targets, values):
            return _NARROW + 3 + sum(map(width, targets)) + sum(map(_extent, values))
        case Report(name, value):
            return len(name) + width(value) + 10
        case Count(condition) | If(condition):
            return width(condition) + 20
        case Repeat(count, condition):
            return width(count) + (width(condition) if condition else 0) + 20
        case Stop(unless):
            return width(unless) + 12
        case Turns(period):
            return width(period) + 36
        case Examples():
            return 36
        case Where(tensors):
            return len(tensors) + 8


def _extent(value: Formula) -> int:
    """The characters of a value: of its widest row where it has rows."""
    if isinstance(value, Cases):
        rows = [width(each) + width(condition) for each, condition in value.rows]
        return max(*rows, width(value.otherwise) + 10) + 6
    if isinstance(value, Fraction):
        return max(width(value.above), width(value.below))
    return width(value)


def sides(statement: Assign, writer: LatexWriter = _WRITER) -> tuple[str, str]:
    """What stands before the arrow, and the arrow with what stands behind it."""
    targets = ", ".join(map(writer.write, statement.targets))
    values = ", ".join(map(writer.write, statement.values))
    arrow = r"\sim" if statement.drawn else r"\gets"
    return targets, f"{arrow} {values}"
