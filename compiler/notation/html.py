"""Boxes as a page of HTML: one file, no scripts, no network, light and dark."""

from html import escape
from typing import assert_never

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
from .lines import width
from .mathml import MathmlWriter
from .tree import Formula, Symbol

_STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d2330; --soft: #667085; --paper: #ffffff; --shade: #f5f7fa; --line: #d8dee8;
  --mark: #2f5bd0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ef; --soft: #98a2b3; --paper: #14171d; --shade: #1c2029; --line: #313846;
    --mark: #8fb0ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 2.5rem 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif;
}
main { max-width: 60rem; margin: auto; }
h1 { font-size: 1.4rem; margin: 0; }
h2 {
  font-size: 0.95rem; font-weight: 600; color: var(--soft); margin: 1.6rem 0 0.4rem;
}
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--mark); }
code { font: 0.85em ui-monospace, monospace; }
math { font-size: 1.08em; }
table { border-collapse: collapse; }
.facts td { padding: 0.15rem 1.5rem 0.15rem 0; vertical-align: baseline; }
.facts td:last-child, .note { color: var(--soft); }
.box { border: 1px solid var(--line); border-radius: 10px; overflow-x: auto; }
.part {
  display: grid; grid-template-columns: minmax(22rem, 1fr) minmax(12rem, auto);
  column-gap: 2rem; padding: 0.55rem 1rem; align-items: start;
}
.part + .part { border-top: 1px solid var(--line); }
.part:nth-child(even) { background: var(--shade); }
.spec { color: var(--soft); text-align: right; padding-top: 0.25rem; }
.spec b { color: var(--mark); font-weight: 600; }
.line { padding: 0.28rem 0; white-space: nowrap; }
.left { display: inline-block; }
.within {
  margin: 0.1rem 0 0.1rem 0.4rem; padding-left: 1.1rem; border-left: 2px solid var(--line);
}
.within .spec { text-align: left; padding-top: 0.3rem; }
.word { color: var(--mark); font-weight: 600; }
.cases mtd { text-align: left; padding: 0.15em 0.6em 0.15em 0; }
"""

_WRITER = MathmlWriter()


def html(box: Box) -> str:
    """A box as a whole page."""
    title = escape(f"{box.name}: {box.title}" if box.title else box.name)
    papers = ", ".join(f'<a href="{escape(url)}">{escape(name)}</a>' for name, url in box.papers)
    rows = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head>",
        "<body><main>",
        f"<h1><code>{escape(box.name)}</code></h1>",
        *(f"<p>{_prose(text)}</p>" for text in (box.title, box.notes) if text),
        *([f"<p>{papers}</p>"] if papers else []),
        *_tables(box),
        *(["<h2>To begin</h2>", *_body(box.start, box.file)] if box.start else []),
        "<h2>Each step, t = 1, 2, …</h2>",
        *_body(box.step, box.file),
    ]
    if box.evaluation:
        rows += ["<h2>To evaluate</h2>", *_body(box.evaluation, box.file)]
    return "\n".join([*rows, "</main></body></html>"]) + "\n"


def _math(formula: Formula) -> str:
    return f'<math><mstyle displaystyle="true">{_WRITER.write(formula)}</mstyle></math>'


def _prose(text: str) -> str:
    """A text of a spec, its `code` as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def _tables(box: Box) -> list[str]:
    inputs = [
        [
            _math(each.symbol),
            _math(each.default) if each.default is not None else "must be given",
            " ".join(filter(None, (each.kind, _interval(each.values)))),
            f"<code>{escape(each.name)}</code>",
        ]
        for each in box.inputs
    ]
    states = [
        [
            _math(each.symbol),
            _math(each.start),
            escape(each.note),
            f"<code>{escape(f'{each.stage}.{each.name}')}</code>",
        ]
        for each in box.states
    ]
    groups = [[f"<code>{escape(each.name)}</code>", escape(each.where)] for each in box.groups]
    refusals = [[escape(each)] for each in box.refusals]
    rows = []
    tables = (("Given", inputs), ("State", states), ("Groups", groups), ("Refused", refusals))
    for title, table in tables:
        if table:
            cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in table)
            rows += [f"<h2>{title}</h2>", '<table class="facts">']
            rows += [*(f"<tr>{row}</tr>" for row in cells), "</table>"]
    return rows


def _interval(values: Interval | None) -> str:
    if values is None:
        return ""
    low, high = _WRITER.write(values.low), _WRITER.write(values.high)
    ends = f"<mo>{values.opening}</mo>{low}<mo>,</mo>{high}<mo>{values.closing}</mo>"
    return f"in <math><mrow>{ends}</mrow></math>"


def _body(body: Body, file: str) -> list[str]:
    rows = ['<div class="box">']
    for part in body:
        spec = _spec(part.stage, file) if part.stage is not None else ""
        lines = _lines(part, part.stage, file)
        rows += ['<div class="part"><div>', *lines, "</div>", f"<div>{spec}</div></div>"]
    return [*rows, "</div>"]


def _spec(stage: Stage, file: str) -> str:
    line, _, text = heading(stage, file).partition(" | ")
    return f'<div class="spec"><code><b>{escape(line)}</b> {escape(text)}</code></div>'


def _lines(part: Part, stage: Stage | None, file: str) -> list[str]:
    if not part.statements:
        return ['<div class="line note">nothing of its own</div>']
    room = _room(part.statements)
    return [row for each in part.statements for row in _statement(each, stage, file, room)]


def _statement(statement: Statement, stage: Stage | None, file: str, room: float) -> list[str]:
    match statement:
        case Let(constants):
            pairs = (_equation((symbol,), "=", (value,)) for symbol, value in constants)
            return [_line(f"{_word('with')} {', '.join(pairs)}")]
        case Assign(targets, values, drawn):
            return [_line(_equation(targets, "∼" if drawn else "←", values, room))]
        case Report(name, value, verb):
            shown = "" if value == Symbol(name) else f" = {_math(value)}"
            return [_line(f"{_word(verb)} <code>{escape(name)}</code>{shown}")]
        case Count(condition):
            return [_line(f"{_word('the step counts if')} {_math(condition)}")]
        case Stop(unless):
            return [_line(f"{_word('stop unless')} {_math(unless)}")]
        case Examples(gradient, body):
            before, after = statement.words
            head = f"{_word('for')} {before}{_math(gradient)}{after}"
            return [_line(head), *_inner(body, stage, file)]
        case If():
            sides, last = branches(statement)
            rows = []
            for number, (condition, body) in enumerate(sides):
                rows.append(_line(f"{_word('else if' if number else 'if')} {_math(condition)}"))
                rows += _inner(body, stage, file)
            if last:
                rows += [_line(_word("else")), *_inner(last, stage, file)]
            return rows
        case Repeat(count, condition, body):
            head = f"{_word('repeat')} {_math(count)} {_word('times')}"
            if condition is not None:
                head += f" {_word('while')} {_math(condition)}"
            return [_line(head), *_inner(body, stage, file)]
        case Turns(period, body, otherwise):
            head = f"{_word('every')} {_math(period)} {_word('steps')}, each tensor in its turn"
            rows = [_line(head), *_inner(body, stage, file)]
            if otherwise:
                rows += [_line(_word("else")), *_inner(otherwise, stage, file)]
            return rows
        case Where(tensors, inner):
            head = _line(f"{_word('for')} {escape(tensors)}")
            return [head, *_inner((Part(None, inner),), stage, file)]
        case _:
            assert_never(statement)


def _inner(body: Body, around: Stage | None, file: str) -> list[str]:
    rows = ['<div class="within">']
    for part in body:
        if part.stage is not None and part.stage != around:
            rows.append(_spec(part.stage, file))
        rows += _lines(part, part.stage or around, file)
    return [*rows, "</div>"]


def _line(content: str) -> str:
    return f'<div class="line">{content}</div>'


def _word(word: str) -> str:
    return f'<span class="word">{word}</span>'


def _equation(
    targets: tuple[Symbol, ...], arrow: str, values: tuple[Formula, ...], room: float = 0
) -> str:
    """`x ← y`; the left side takes `room`, in em, so that arrows stand below each other."""
    left, right = ("<mo>,</mo>".join(map(_WRITER.write, side)) for side in (targets, values))
    sign = f'<mo lspace="0.3em" rspace="0.3em">{arrow}</mo>'
    space = f' style="min-width: {room:.1f}em"' if room else ""
    return (
        f'<span class="left"{space}><math>{left}</math></span>'
        f'<math><mstyle displaystyle="true"><mrow>{sign}{right}</mrow></mstyle></math>'
    )


def _room(statements: tuple[Statement, ...]) -> float:
    """How wide the left sides of statements are, in em, without those that are very wide."""
    sides = [each.targets for each in statements if isinstance(each, Assign)]
    widths = [width(side[0]) for side in sides if len(side) == 1]
    return 0.62 * max((each for each in widths if each <= _NARROW), default=0)


_NARROW = 12
"""Characters of a left side that the others are aligned with."""
