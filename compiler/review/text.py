"""A review as text for a terminal, and as Markdown for a comment under a change."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap

from .records import Change, Fact, Review, shown

SAME = "The same map for all values of the hyperparameters."
OPEN = "Not shown to be the same map."

_SIGNS = {"kept": " ", "added": "+", "removed": "-", "changed": "~", "moved": ">"}
_COLOURS = {"+": "32", "-": "31", "~": "33", ">": "36"}
_WIDTH = 100


@dataclass(frozen=True)
class _Row:
    """A line: how deep it stands, what became of it, and what it says."""

    depth: int
    sign: str
    text: str


def text(review: Review, *, color: bool = False) -> str:
    """The review in plain lines; empty when nothing changed."""
    if not review:
        return ""
    parts = [_heading(review, "->", "{}")]
    for section in review.sections:
        rows = (_plain(row, color) for row in _rows(section.changes, 1))
        parts.append("\n".join((section.title, *rows)))
    return "\n\n".join([*parts, *_verdict(review)])


def markdown(review: Review) -> str:
    """The review as a heading and one block of `diff` for each section."""
    if not review:
        return ""
    parts = [f"### {_heading(review, '→', '`{}`')}"]
    for section in review.sections:
        lines = "\n".join(map(_for_diff, _rows(section.changes, 0)))
        # A docstring may hold a fence itself.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
        parts.append(f"**{section.title}**\n\n{fence}diff\n{lines}\n{fence}")
    return "\n\n".join([*parts, *_verdict(review)])


def joined(texts: Iterable[str]) -> str:
    """Several reviews one under the other."""
    return "\n\n".join(each for each in texts if each)


def _heading(review: Review, arrow: str, name: str) -> str:
    before, after = name.format(review.before), name.format(review.after)
    if not review.before:
        return f"{after}, which is new"
    if not review.after:
        return f"{before}, which is gone"
    return before if before == after else f"{before} {arrow} {after}"


def _verdict(review: Review) -> list[str]:
    return [] if review.same is None else [SAME if review.same else OPEN]


def _plain(row: _Row, color: bool) -> str:
    indent = "  " * row.depth
    line = f"{indent}{row.sign} {row.text}".rstrip()
    further = f"{indent}    "
    lines = wrap(line, _WIDTH, subsequent_indent=further, break_long_words=False) or [line]
    if color and row.sign in _COLOURS:
        lines = [f"\033[{_COLOURS[row.sign]}m{each}\033[0m" for each in lines]
    return "\n".join(lines)


def _for_diff(row: _Row) -> str:
    """A line as blocks of `diff` colour it: the sign comes first, and `!` is a change."""
    sign = "!" if row.sign in "~>" else row.sign
    return f"{sign} {'  ' * row.depth}{row.text}".rstrip()


def _rows(changes: tuple[Change, ...], depth: int) -> Iterator[_Row]:
    width = max((len(c.head) for c in changes), default=0)
    for change in shown(changes):
        if change is None:
            yield _Row(depth, " ", "...")
        else:
            yield from _of_change(change, depth, width)


def _of_change(change: Change, depth: int, width: int) -> Iterator[_Row]:
    def columns(what: str) -> str:
        return f"{change.head:<{width}} {what}".rstrip() if change.head else what

    if change.was:
        yield _Row(depth, "-", columns(change.was))
        yield _Row(depth, "+", columns(change.what))
        return
    facts = [_fact(fact) for fact in change.facts]
    if not change.what and width + len("; ".join(facts)) < _WIDTH - 10:
        yield _Row(depth, _SIGNS[change.how], columns("; ".join(facts)))
    else:
        yield _Row(depth, _SIGNS[change.how], columns(change.what))
        yield from (_Row(depth + 1, " ", fact) for fact in facts)
    yield from _rows(change.inside, depth + 1)


def _fact(fact: Fact) -> str:
    what = f"{fact.what}: " if fact.what else ""
    return f"{what}{fact.before or 'none'} -> {fact.after or 'none'}"
