"""Boxes as plain text: Unicode, aligned, in lines of at most 100 characters."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import assert_never
from unicodedata import combining

from ..records import Stage
from .box import (
    Assign,
    Body,
    Box,
    Count,
    Examples,
    If,
    Interval,
    Let,
    Repeat,
    Report,
    Statement,
    Stop,
    Turns,
    Where,
    branches,
    heading,
    statements,
)
from .plain import TextWriter
from .tree import Cases, Symbol

WIDTH = 100
"""The longest line of a box."""

_INDENT = "    "
_WRITER = TextWriter()


def text(box: Box) -> str:
    """A box as plain text."""
    rows = wrap(f"{box.name}: {box.title}" if box.title else box.name, WIDTH)
    rows += wrap(box.notes, WIDTH)
    for title, table in (
        ("given", _inputs(box)),
        ("state", _states(box)),
        ("groups", _groups(box)),
    ):
        if table:
            rows += ["", title]
            rows += [line for row in _aligned(table) for line in _hanging(_INDENT + row, _INDENT)]
    if box.refusals:
        rows += [
            "",
            "refused",
            *(r for each in box.refusals for r in _hanging(_INDENT + each, "  ")),
        ]
    if box.start:
        rows += ["", "to begin", *_Body(box).rows(box.start)]
    rows += ["", "step t = 1, 2, ..."]
    rows += _Body(box).rows(box.step)
    if box.evaluation:
        rows += ["", "to evaluate"]
        rows += _Body(box).rows(box.evaluation)
    return "\n".join(row.rstrip() for row in rows) + "\n"


def _inputs(box: Box) -> list[list[str]]:
    return [
        [
            _WRITER.write(each.symbol),
            "= " + _WRITER.write(each.default) if each.default is not None else "must be given",
            " ".join(filter(None, (each.kind, _interval(each.values)))),
            each.name,
        ]
        for each in box.inputs
    ]


def _interval(values: Interval | None) -> str:
    if values is None:
        return ""
    low, high = _WRITER.write(values.low), _WRITER.write(values.high)
    return f"in {values.opening}{low}, {high}{values.closing}"


def _states(box: Box) -> list[list[str]]:
    return [
        [
            _WRITER.write(each.symbol),
            "= " + _WRITER.write(each.start),
            f"{each.stage}.{each.name}",
            each.note,
        ]
        for each in box.states
    ]


def _groups(box: Box) -> list[list[str]]:
    return [[each.name, each.where] for each in box.groups]


class _Body:
    """Writes the statements of a box, the arrows below each other."""

    def __init__(self, box: Box) -> None:
        self._file = box.file
        every = [
            each for body in (box.start, box.step, box.evaluation) for each in statements(body)
        ]
        sides = (_left(each) for each in every if isinstance(each, Assign))
        self._room = min(14, max(map(columns, sides), default=0))

    def rows(self, body: Body, indent: int = 1, around: Stage | None = None) -> list[str]:
        """Each part under its line of the spec, with an empty line before."""
        rows: list[str] = []
        for part in body:
            if part.stage is not None and part.stage != around:
                shown = heading(part.stage, self._file)
                rows += ["", *_hanging(_INDENT * (indent - 1) + shown, "  ")]
            elif not rows and indent == 1:
                rows.append("")
            for statement in part.statements:
                rows += self._statement(statement, indent, part.stage or around)
            if not part.statements:
                rows.append(_INDENT * indent + "nothing of its own")
        return rows

    def _statement(self, statement: Statement, indent: int, stage: Stage | None) -> list[str]:
        space = _INDENT * indent
        match statement:
            case Let(constants):
                pairs = (f"{_WRITER.write(s)} = {_WRITER.write(v)}" for s, v in constants)
                return _hanging(f"{space}with {', '.join(pairs)}", "  ")
            case Assign():
                return self._assign(statement, space)
            case Report(name, value, verb):
                shown = "" if value == Symbol(name) else f" = {_WRITER.write(value)}"
                return _hanging(f"{space}{verb} {name}{shown}", "  ")
            case Count(condition):
                return _hanging(f"{space}the step counts if {_WRITER.write(condition)}", "  ")
            case Stop(unless):
                return _hanging(f"{space}stop unless {_WRITER.write(unless)}", "  ")
            case Examples(gradient, body):
                before, after = statement.words
                line = f"{space}for {before}{_WRITER.write(gradient)}{after}:"
                return [line, *self.rows(body, indent + 1, stage)]
            case If():
                sides, last = branches(statement)
                rows = []
                for number, (condition, body) in enumerate(sides):
                    word = "else if" if number else "if"
                    rows += _hanging(f"{space}{word} {_WRITER.write(condition)}:", "  ")
                    rows += self.rows(body, indent + 1, stage)
                if last:
                    rows += [f"{space}else:", *self.rows(last, indent + 1, stage)]
                return rows
            case Repeat(count, condition, body):
                tested = f" while {_WRITER.write(condition)}" if condition is not None else ""
                head = _hanging(f"{space}repeat {_WRITER.write(count)} times{tested}:", "  ")
                return head + self.rows(body, indent + 1, stage)
            case Turns(period, body, otherwise):
                words = f"{space}every {_WRITER.write(period)} steps, each tensor in its turn:"
                rows = [*_hanging(words, "  "), *self.rows(body, indent + 1, stage)]
                if otherwise:
                    rows += [f"{space}else:", *self.rows(otherwise, indent + 1, stage)]
                return rows
            case Where(tensors, inner):
                rows = _hanging(f"{space}for {tensors}:", "  ")
                for each in inner:
                    rows += self._statement(each, indent + 1, stage)
                return rows
            case _:
                assert_never(statement)

    def _assign(self, statement: Assign, space: str) -> list[str]:
        left = _padded(_left(statement), self._room)
        arrow = "∼" if statement.drawn else "←"
        head = f"{space}{left} {arrow} "
        hang = " " * (columns(head) - len(space))
        if len(statement.values) == 1 and isinstance(statement.values[0], Cases):
            return _cases(head, statement.values[0])
        return _hanging(head + ", ".join(map(_WRITER.write, statement.values)), hang)


def _left(statement: Assign) -> str:
    return ", ".join(map(_WRITER.write, statement.targets))


def _cases(head: str, cases: Cases) -> list[str]:
    """A choice with a row for each case."""
    values = [*(value for value, _ in cases.rows), cases.otherwise]
    conditions = [f"if {_WRITER.write(c)}" for _, c in cases.rows] + ["otherwise"]
    written = [_WRITER.write(value) for value in values]
    room = max(map(columns, written))
    braces = ["⎧", *"⎨" * (len(values) - 2), "⎩"]
    rows = []
    for brace, value, condition in zip(braces, written, conditions, strict=True):
        row = f"{head}{brace} {_padded(value, room)}  {condition}"
        rows += _hanging(row, " " * (columns(head) + 2 - _spaces(row)))
        head = " " * columns(head)
    return rows


def _hanging(row: str, hang: str) -> list[str]:
    """A row, its further lines indented by `hang` more."""
    space = " " * _spaces(row)
    if columns(row) <= WIDTH:
        return [row]
    lines = wrap(row.strip(), WIDTH - len(space) - len(hang), break_long_words=False)
    return [space + lines[0], *(space + hang + line for line in lines[1:])]


def _spaces(row: str) -> int:
    return len(row) - len(row.lstrip())


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """The cells of a table below each other."""
    widths = [max(map(columns, column)) for column in zip(*table, strict=True)]
    for cells in table:
        yield "  ".join(_padded(c, w) for c, w in zip(cells, widths, strict=True)).rstrip()


def columns(line: str) -> int:
    """How wide a line is on a terminal: marks above letters take no room."""
    return sum(not combining(c) for c in line)


def _padded(cell: str, room: int) -> str:
    return cell + " " * (room - columns(cell))
