"""Warnings that a spec allows: `# allow: CODE` at the end of a line, or alone above it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..grammar.diagnostic import (
    MAX_DIAGNOSTICS,
    RULES,
    Diagnostic,
    Diagnostics,
    Fix,
    Severity,
    correction,
    declare,
    did_you_mean,
)
from ..grammar.skeleton import read_skeleton
from ..grammar.source import Source, Span

UNUSED_ALLOW = declare(
    "unused-allow",
    "an `allow` comment that silences nothing",
    """
    `# allow: CODE` silences the warnings of a code on its line, or, where it stands alone, on the
    next line that is no comment. Where brackets are open at the end of that line, the lines up to
    the closing one count to it. Several codes are parted by commas, and what follows them is for
    readers:

        schedule_end = 900  # allow: early-end  the last tenth is a second phase

    An error cannot be allowed. An `allow` without its warning was misspelt, stands on another line
    than it should, or was left behind by a change; it would hide the next mistake. `optc check
    --fix` deletes those whose code exists.
    """,
    Severity.WARNING,
)

_ALLOW = re.compile(r"#\s*allow:\s*(?P<codes>[\w-]+(?:\s*,\s*[\w-]+)*)")
_CODE = re.compile(r"[\w-]+")
_BRACKETS = re.compile(
    r"(?P<text>\#[^\n]*|\"{3}[\s\S]*?\"{3}|\"(?:[^\"\\\n]|\\[^\n])*\")|[(\[)\]\n]"
)


@dataclass(frozen=True, slots=True)
class _Comment:
    """One `allow` comment: its codes, the lines on which it holds, and itself with its space."""

    codes: tuple[Span, ...]
    lines: range
    whole: Span


def without_allowed(report: Diagnostics, source: Source) -> Diagnostics:
    """The findings that no `allow` silences, and those on `allow` comments of `source`.

    What `allow` comments of other files silence is silent too; whether they are needed is asked
    where those files are checked.
    """
    comments: dict[Source, tuple[_Comment, ...]] = {source: _comments(source)}
    kept = Diagnostics()
    used: set[Span] = set()
    for finding in report:
        origin = finding.span.source
        if origin not in comments:
            comments[origin] = _comments(origin)
        silent = [] if finding.severity is Severity.ERROR else _allowing(comments[origin], finding)
        used.update(silent)
        if not silent:
            kept.add(finding)
    # After a mistake not everything was looked at, and what an `allow` is for may show later.
    if not report.has_errors and len(report) < MAX_DIAGNOSTICS:
        for comment in comments[source]:
            for finding in _unused(comment, used):
                kept.add(finding)
    return kept


def _allowing(comments: tuple[_Comment, ...], finding: Diagnostic) -> list[Span]:
    """The codes that silence a warning."""
    line = finding.span.line
    return [
        code
        for comment in comments
        if line in comment.lines
        for code in comment.codes
        if code.text == finding.code
    ]


def _unused(comment: _Comment, used: set[Span]) -> Iterator[Diagnostic]:
    left = [code for code in comment.codes if code not in used]
    warnings = [code for code, rule in RULES.items() if rule.severity is Severity.WARNING]
    alone = all(code in left and code.text in warnings for code in comment.codes)
    for code in left:
        if code.text in warnings:
            fix = Fix(_removed(comment, code, alone), "", safe=True)
            message = f"there is no `{code.text}` here that this `allow` could silence"
            yield UNUSED_ALLOW.at(code, message, label="unused", help="delete it", fix=fix)
        elif code.text in RULES:
            message = f"`{code.text}` is an error, and only warnings can be allowed"
            yield UNUSED_ALLOW.at(code, message)
        else:
            message = f"no warning has the code `{code.text}`"
            help = did_you_mean(code.text, warnings)
            yield UNUSED_ALLOW.at(code, message, help=help, fix=correction(code, warnings))


def _removed(comment: _Comment, code: Span, alone: bool) -> Span:
    """What to delete: the comment, or one of its codes with a comma."""
    if alone:
        return comment.whole
    place = comment.codes.index(code)
    if place + 1 < len(comment.codes):
        return Span(code.source, code.start, comment.codes[place + 1].start)
    return Span(code.source, comment.codes[place - 1].end, code.end)


def _comments(source: Source) -> tuple[_Comment, ...]:
    if "allow:" not in source.text:
        return ()
    found = []
    for comment in read_skeleton(source, Diagnostics()).comments:
        if match := _ALLOW.match(comment.text):
            start = comment.span.start + match.start("codes")
            codes = tuple(
                Span(source, start + each.start(), start + each.end())
                for each in _CODE.finditer(match["codes"])
            )
            found.append(_Comment(codes, *_place(comment.span)))
    return tuple(found)


def _place(comment: Span) -> tuple[range, Span]:
    """The lines on which an `allow` holds, and what is deleted with it."""
    source, number = comment.source, comment.line
    before = source.line(number)[: comment.column - 1]
    if before.strip():
        blank = len(before) - len(before.rstrip())
        return _lines(source, number), Span(source, comment.start - blank, comment.end)
    last = source.position(len(source.text))[0]
    whole = Span(source, comment.start - len(before), _next_line(source, comment.end))
    while number <= last and source.line(number).strip()[:1] in ("", "#"):
        number += 1
    return _lines(source, number) if number <= last else range(0), whole


def _next_line(source: Source, offset: int) -> int:
    end = source.text.find("\n", offset)
    return len(source.text) if end < 0 else end + 1


def _lines(source: Source, first: int) -> range:
    """A line, and those after it while round or square brackets that it opened are open."""
    number, depth = first, 0
    for match in _BRACKETS.finditer(source.text, source.start_of(first)):
        if match["text"]:
            number += match["text"].count("\n")
        elif match[0] == "\n":
            if depth <= 0:
                break
            number += 1
        else:
            depth += 1 if match[0] in "([" else -1
    return range(first, number + 1)
