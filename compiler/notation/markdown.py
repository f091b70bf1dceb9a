r"""Boxes in Markdown, with the mathematics in `$$` that GitHub and notebooks show.

Formulas keep to one line each and use no backslash before a sign, since Markdown reads `\\` and
`\_` before the mathematics does.
"""

import re
from typing import assert_never

from ..records import Stage
from .box import (
    Assign,
    Body,
    Box,
    Count,
    Examples,
    If,
    Let,
    Part,
    Repeat,
    Report,
    Statement,
    Stop,
    Turns,
    Where,
    branches,
    heading,
)
from .latex import sides
from .symbols import SIGNS
from .tex import LatexWriter
from .tree import Formula, Symbol, Words

_SPACE = r"\quad "
_WIDE = {c: chr(ord(c) + 0xFEE0) for c in "#$%&_{}\\^~|`*"}


class _MarkdownWriter(LatexWriter):
    r"""LaTeX without any escape: words have the wide forms of what would need one.

    GitHub refuses `\operatorname`.
    """

    def _function(self, name: str) -> str:
        return SIGNS[name][1] if name in SIGNS else self._text(name)

    def _text(self, text: str) -> str:
        return rf"\text{{{self.letters(text)}}}"

    def _quoted(self, text: str) -> str:
        return "".join(_WIDE.get(c, c) for c in text.replace("<", "＜") if c.isprintable())

    def letters(self, name: str) -> str:
        """Words between the braces of a command."""
        return self._quoted(name.replace("_", "-"))


_WRITER = _MarkdownWriter()


def markdown(box: Box) -> str:
    """A box as Markdown."""
    rows = [f"### `{box.name}`", ""]
    if box.title:
        rows += [_prose(box.title) + ".", ""]
    if box.notes:
        rows += [_prose(box.notes), ""]
    if box.papers:
        rows += [", ".join(f"[{name}]({address})" for name, address in box.papers), ""]
    if box.inputs:
        rows += ["| given | | default | values |", "|---|---|---|---|"]
        for each in box.inputs:
            default = _math(each.default) if each.default is not None else "must be given"
            bounds = each.values
            values = (
                f"${bounds.opening}{_WRITER.write(bounds.low)}, "
                f"{_WRITER.write(bounds.high)}{bounds.closing}$"
                if bounds
                else ""
            )
            shown = " ".join(filter(None, (each.kind, values)))
            rows.append(f"| {_math(each.symbol)} | `{each.name}` | {default} | {shown} |")
        rows.append("")
    if box.states:
        rows += ["| state | | at first |", "|---|---|---|"]
        for state in box.states:
            note = f" ({_prose(state.note)})" if state.note else ""
            slot = f"`{state.stage}.{state.name}`{note}"
            rows.append(f"| {_math(state.symbol)} | {slot} | {_math(state.start)} |")
        rows.append("")
    for group in box.groups:
        rows += [f"Group `{group.name}`: {_prose(group.where)}.", ""]
    for refusal in box.refusals:
        rows += [f"Refused: {_prose(refusal)}.", ""]
    if box.start:
        rows += ["To begin:", "", *_body(box.start, box.file)]
    rows += ["Each step, $t = 1, 2, \\dots$:", "", *_body(box.step, box.file)]
    if box.evaluation:
        rows += ["To evaluate:", "", *_body(box.evaluation, box.file)]
    return "\n".join(rows).rstrip() + "\n"


def _math(formula: Formula) -> str:
    # A bar would end the cell of a table.
    return f"${_WRITER.write(formula)}$".replace("|", r"\vert ")


def _prose(text: str) -> str:
    """A text of a spec: its `code` stays, every other sign of Markdown and HTML is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _escaped(text)
    return "".join(
        f"`{part}`".replace("|", r"\|") if number % 2 else _escaped(part)
        for number, part in enumerate(parts)
    )


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#$|~&!])", r"\\\1", text)


def _code(text: str) -> str:
    """Text as code, in as many ticks as it takes."""
    ticks = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _body(body: Body, file: str) -> list[str]:
    rows = []
    for part in body:
        if part.stage is not None:
            rows += [_code(heading(part.stage, file)), ""]
        rows += _part(part, file) if part.statements else ["Nothing of its own.", ""]
    return rows


def _part(part: Part, file: str) -> list[str]:
    """One block of mathematics; the arrows are aligned where nothing is indented."""
    plain = all(isinstance(each, Assign | Report | Let | Count) for each in part.statements)
    rows = [
        row
        for each in part.statements
        for row in _statement(each, 0, part.stage, file, "&" if plain else "")
    ]
    if not plain:
        rows = [f"&{row}" for row in rows]
    return ["$$", r"\begin{aligned}", " \\cr\n".join(rows), r"\end{aligned}", "$$", ""]


def _statement(
    statement: Statement, indent: int, stage: Stage | None, file: str, align: str
) -> list[str]:
    space = _SPACE * indent
    match statement:
        case Let(constants):
            pairs = (f"{_WRITER.write(s)} = {_WRITER.write(v)}" for s, v in constants)
            return [rf"{space}{align}\text{{with }} {', '.join(pairs)}"]
        case Assign():
            left, right = sides(statement, _WRITER)
            return [f"{space}{left} {align}{right}"]
        case Report(name, value, verb):
            shown = "" if value == Symbol(name) else f" = {_WRITER.write(value)}"
            return [rf"{space}{align}\text{{{verb} {_WRITER.letters(name)}}}{shown}"]
        case Count(condition):
            return [rf"{space}{align}\text{{the step counts if }} {_WRITER.write(condition)}"]
        case Stop(unless):
            return [rf"{space}{align}\textbf{{stop unless }} {_WRITER.write(unless)}"]
        case Examples(gradient, body):
            before, after = statement.words
            words = rf"\textbf{{for }}\text{{{before}}} {_WRITER.write(gradient)}"
            head = rf"{space}{words}" + (rf" \text{{{after}}}" if after else "")
            return [head, *_inner(body, indent, stage, file)]
        case If():
            choices, last = branches(statement)
            rows = []
            for number, (condition, body) in enumerate(choices):
                word = r"\textbf{else if }" if number else r"\textbf{if }"
                rows.append(f"{space}{word} {_WRITER.write(condition)}")
                rows += _inner(body, indent, stage, file)
            if last:
                rows += [rf"{space}\textbf{{else}}", *_inner(last, indent, stage, file)]
            return rows
        case Repeat(count, condition, body):
            tested = rf" \textbf{{ while }} {_WRITER.write(condition)}" if condition else ""
            head = rf"{space}\textbf{{repeat }} {_WRITER.write(count)} \textbf{{ times}}{tested}"
            return [head, *_inner(body, indent, stage, file)]
        case Turns(period, body, otherwise):
            shown = _WRITER.write(period)
            words = (
                rf"\textbf{{every }} {shown} \textbf{{ steps}}\text{{, each tensor in its turn}}"
            )
            rows = [space + words, *_inner(body, indent, stage, file)]
            if otherwise:
                rows += [rf"{space}\textbf{{else}}", *_inner(otherwise, indent, stage, file)]
            return rows
        case Where(tensors, inner):
            rows = [rf"{space}\textbf{{for }} {_WRITER.write(Words(tensors))}"]
            for each in inner:
                rows += _statement(each, indent + 1, stage, file, "")
            return rows
        case _:
            assert_never(statement)


def _inner(body: Body, indent: int, around: Stage | None, file: str) -> list[str]:
    rows = []
    for part in body:
        stage = part.stage or around
        if part.stage is not None and part.stage != around:
            shown = _WRITER.letters(heading(part.stage, file))
            rows.append(rf"{_SPACE * (indent + 1)}\texttt{{{shown}}}")
        for each in part.statements:
            rows += _statement(each, indent + 1, stage, file, "")
    return rows
