"""Diagnostics as text for a person and as JSON for a tool. Adds no words of its own."""

import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from .diagnostic import Diagnostic, Fix, Severity
from .source import Source, Span

SCHEMA_VERSION = 1
"""Of the JSON; it changes when a field changes its meaning or goes away."""

MAX_WIDTH = 120
"""Longer source lines are cut around the span."""

_CONTEXT = 40
"""Characters that stay on each side of a span in a cut line."""

_TAB = "    "
_CUT = "..."

_RED, _YELLOW, _BLUE, _BOLD, _PLAIN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"


def render_text(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """Each finding with its source lines, separated by empty lines; no line break at the end.

    `color` adds ANSI colours for a terminal. Control characters of the source are shown as
    escapes, so that no spec can write to the terminal. The order is the one given.
    """
    return "\n\n".join("\n".join(_finding(each, _Paint(color))) for each in diagnostics)


def render_json(diagnostics: Iterable[Diagnostic]) -> str:
    """The findings as one JSON object: `{"version": 1, "diagnostics": [...]}`.

    Lines and columns count from 1, offsets from 0; columns and offsets are in characters. `end` is
    exclusive.
    """
    findings = [_record(each) for each in diagnostics]
    return json.dumps({"version": SCHEMA_VERSION, "diagnostics": findings}, indent=2)


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """How many findings there are of each severity: "2 errors, 1 warning"; empty for none."""
    severities = [each.severity for each in diagnostics]
    counts = [(severities.count(severity), severity.value) for severity in Severity]
    return ", ".join(f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts if n)


@dataclass(frozen=True, slots=True)
class _Paint:
    """Colours, or none."""

    on: bool

    def __call__(self, color: str, text: str) -> str:
        return f"{color}{text}{_PLAIN}" if self.on and text else text


@dataclass(frozen=True, slots=True)
class _Mark:
    """An underline of part of one line, with what is written after it."""

    source: Source
    line: int
    start: int
    end: int
    text: str
    sign: str


def _finding(finding: Diagnostic, paint: _Paint) -> Iterator[str]:
    error = finding.severity is Severity.ERROR
    hue = _RED if error else _YELLOW
    headline = f"{finding.severity.value}[{finding.code}]"
    yield f"{paint(hue, headline)}{paint(_BOLD, ': ' + visible(finding.message))}"

    marks = list(_marks(finding.span, finding.label, "^"))
    for other in finding.others:
        marks += _marks(other.span, other.text, "-")
    width = len(str(max(mark.line for mark in marks)))
    # The file of the finding itself comes first, then others in the order of their labels.
    order = {id(mark.source): number for number, mark in reversed(list(enumerate(marks)))}
    marks.sort(key=lambda mark: (order[id(mark.source)], mark.line, mark.sign != "^", mark.start))
    for _, group in groupby(marks, key=lambda mark: id(mark.source)):
        yield from _excerpt(list(group), finding.span, width, hue, paint)

    if finding.help is not None:
        first, *rest = finding.help.split("\n")
        yield f"{' ' * (width + 2)}{paint(_BLUE, '=')} {paint(_BOLD, 'help')}: {visible(first)}"
        for line in rest:
            yield f"{' ' * (width + 10)}{visible(line)}".rstrip()


def _marks(span: Span, text: str, sign: str) -> Iterator[_Mark]:
    """The underlines of a span: one on its line, or one on its first and one on its last line."""
    line, column = span.source.position(span.start)
    last, end = span.source.position(max(span.end, span.start))
    if line == last:
        yield _Mark(span.source, line, column - 1, max(end, column + 1) - 1, text, sign)
        return
    length = len(span.source.line(line))
    yield _Mark(span.source, line, column - 1, max(length, column), "", sign)
    last_text = span.source.line(last)
    indent = len(last_text) - len(last_text.lstrip())
    yield _Mark(span.source, last, min(indent, end - 1), max(end - 1, 1), text, sign)


def _excerpt(
    marks: list[_Mark], primary: Span, width: int, hue: str, paint: _Paint
) -> Iterator[str]:
    """The lines of one source that are marked, each with its underlines."""
    source = marks[0].source
    here = source is primary.source
    line, column = (primary.line, primary.column) if here else (marks[0].line, marks[0].start + 1)
    bar = paint(_BLUE, "|")
    gap = " " * (width + 2)
    arrow = paint(_BLUE, "-->" if here else ":::")
    yield f"{' ' * (width + 1)}{arrow} {visible(source.name)}:{line}:{column}"
    yield f"{gap}{bar}"
    before = None
    for number, group in groupby(marks, key=lambda mark: mark.line):
        if before is not None and number > before + 1:
            yield paint(_BLUE, _CUT)
        before = number
        row = list(group)
        text, cut = _window(source.line(number), row)
        shown = visible(text).rstrip()
        yield f" {paint(_BLUE, str(number).rjust(width))} {bar} {shown}".rstrip()
        for mark in row:
            start = _columns(text[: max(mark.start - cut, 0)])
            length = max(_columns(text[max(mark.start - cut, 0) : mark.end - cut]), 1)
            signs = paint(hue if mark.sign == "^" else _BLUE, mark.sign * length)
            label = paint(hue if mark.sign == "^" else _BLUE, visible(mark.text))
            yield f"{gap}{bar} {' ' * start}{signs} {label}".rstrip()


def _window(line: str, marks: list[_Mark]) -> tuple[str, int]:
    """A line, cut around its marks when it is too long, and by how much it moved to the left."""
    if len(line) <= MAX_WIDTH:
        return line, 0
    start = max(min(mark.start for mark in marks) - _CONTEXT, 0)
    end = min(start + MAX_WIDTH, len(line))
    head = _CUT if start else ""
    tail = _CUT if end < len(line) else ""
    return head + line[start:end] + tail, start - len(head)


def visible(text: str) -> str:
    r"""The text with tabs as spaces and control characters as escapes: `\x1b`."""
    if text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char == "\t":
        return _TAB
    # Neither control characters nor lone surrogates are printable, nor what turns text around.
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def _columns(text: str) -> int:
    """The columns of a terminal that a text takes when it is shown."""
    shown = visible(text)
    if shown.isascii():
        return len(shown)
    return sum(_width(char) for char in shown)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _record(finding: Diagnostic) -> dict[str, object]:
    fix = finding.fix
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "message": finding.message,
        **_place(finding.span),
        "label": finding.label,
        "others": [{**_place(other.span), "label": other.text} for other in finding.others],
        "help": finding.help,
        "fix": None if fix is None else _fix(fix),
    }


def _fix(fix: Fix) -> dict[str, object]:
    return {**_place(fix.span), "replacement": fix.replacement, "safe": fix.safe}


def _place(span: Span) -> dict[str, object]:
    return {
        "file": span.source.name,
        "span": {"start": _point(span.source, span.start), "end": _point(span.source, span.end)},
    }


def _point(source: Source, offset: int) -> dict[str, int]:
    line, column = source.position(offset)
    return {"line": line, "column": column, "offset": offset}
