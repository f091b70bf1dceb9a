"""From text to syntax: `parse` reads a whole file, whatever it holds.

The way of a text: bounds, the first look that cuts it into items (`skeleton`), the grammar for
each item, and when that fails, words for the mistake (`slips`, `expected`) and another try without
the statement in which it was made (`recover`).
"""

from functools import cache
from typing import cast

from lark import Lark, UnexpectedInput

from .bounds import check_depth, check_size
from .build import SITE, Builder, Site
from .diagnostic import Diagnostics, declare
from .expected import failure
from .recover import Statements
from .skeleton import Piece, read_skeleton
from .slips import explain
from .source import Source, Span
from .syntax import Edition, File, Item
from .tables import load_parser

_PATIENCE = 20
"""The mistakes that are looked for in one item."""

_REREADING = 8
"""Looking for more mistakes reads at most this many times the length of the file."""

EDITION_NOT_FIRST = declare(
    "edition-not-first",
    "an `edition` that is not the first item of its file",
    """
    The edition decides how everything after it is read, so it stands first, and once.

    Wrong: `use "rules.opt"` and then `edition 1`.

    Right: `edition 1` and then `use "rules.opt"`.
    """,
)


def parse(source: Source, report: Diagnostics) -> File:
    """Read a file; raises nothing, whatever the text is.

    The file holds the items in which no mistake was found, and all comments. All mistakes that
    can be told apart are reported.

    >>> report = Diagnostics()
    >>> file = parse(Source("<string>", "func twice(x) { return 2 * x }"), report)
    >>> file.items[0].name.id
    'twice'
    """
    if not check_size(source, report):
        return File(_whole(source), ())
    skeleton = read_skeleton(source, report)
    reader = _Items(source, skeleton.text, report)
    items = [reader.read(piece) for piece in skeleton.pieces]
    for item in items[1:]:
        if isinstance(item, Edition):
            report.add(
                EDITION_NOT_FIRST.at(
                    item.span, "`edition` is not the first item", help="move it to the first line"
                )
            )
    whole = tuple(item for item in items if item is not None)
    return File(_whole(source), whole, skeleton.comments)


class _Items:
    """Reads the items of one file, one piece at a time."""

    def __init__(self, source: Source, text: str, report: Diagnostics) -> None:
        self._source = source
        self._text = text
        self._report = report
        self._patience = _REREADING * len(text)

    def read(self, piece: Piece) -> Item | None:
        """The item of a piece, or None when there are mistakes in it."""
        if not piece.readable:
            return None
        text = self._text[piece.start : piece.end]
        mistakes = Diagnostics()
        site = SITE.set(Site(self._source, piece.start, mistakes))
        try:
            item = self._read(piece, text, mistakes)
        finally:
            SITE.reset(site)
        for mistake in mistakes:
            self._report.add(mistake)
        if item is None or not piece.sound or mistakes.has_errors:
            return None
        return item if check_depth(item, self._report) else None

    def _read(self, piece: Piece, text: str, mistakes: Diagnostics) -> Item | None:
        """Parse a text until no mistake is left in it, each time without the one before."""
        statements: Statements | None = None
        for hole in piece.holes:
            statements = statements or Statements(text)
            text = _without(text, statements.around(hole - piece.start))
        for _ in range(_PATIENCE):
            try:
                return cast(Item, _grammar().parse(text))
            except UnexpectedInput as error:
                failed = failure(error, self._source, text, piece.start)
            mistake = explain(failed)
            mistakes.add(mistake)
            statements = statements or Statements(text)
            shorter = _without(text, statements.around(failed.start - piece.start))
            if mistake.span.start < failed.start:
                # It was made earlier than it showed, perhaps in the statement before.
                place = statements.around(mistake.span.end - piece.start)
                shorter = _without(shorter, place)
            self._patience -= len(text)
            if shorter == text or self._patience < 0:
                break
            text = shorter
        return None


@cache
def _grammar() -> Lark:
    return load_parser(Builder())


def _without(text: str, place: tuple[int, int] | None) -> str:
    """The text with a range of it made blank."""
    if place is None:
        return text
    start, end = place
    return text[:start] + " " * (end - start) + text[end:]


def _whole(source: Source) -> Span:
    return Span(source, 0, len(source.text))
