"""The first look at a file: its items, brackets and comments, and marks that mean nothing.

One pass of one regular expression, blind to everything but what can hide a bracket. It cuts the
text into pieces, one for each item, so that the parser sees one item at a time and a mistake in
one cannot confuse the next. Mistakes found here are repaired in a copy of the text that has the
same length, so that they are reported once and all offsets stay true.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from .brackets import Brackets
from .characters import FOREIGN, UNSEEN, foreign_mark, unseen_character
from .diagnostic import MAX_DIAGNOSTICS, Diagnostics, declare
from .source import Source, Span
from .syntax import KINDS, Comment

ITEM_WORDS = ("edition", "use", "rule", "schedule", "func", "extern", "optimizer")
"""The words that begin an item."""

UNCLOSED_STRING = declare(
    "unclosed-string",
    "a string or docstring that does not end",
    '''
    A string ends on the line on which it begins; a docstring ends at the next three quotes.

    Wrong: `use "rules.opt`.

    Right: `use "rules.opt"`, and for text of several lines `"""..."""`.
    ''',
)

_MARKS = re.compile(
    rf"""
      (?P<comment> \#[^\n]* )
    | (?P<doc> \"{{3}} [\s\S]*? \"{{3}} )
    | (?P<string> "(?!"") (?: [^"\\\n] | \\[^\n] )* " )
    | (?P<unclosed_doc> \"{{3}} [\s\S]* )
    | (?P<unclosed_string> "[^\n]* )
    | (?P<opening> [({{\[] )
    | (?P<closing> [)}}\]] )
    | (?P<item> (?<![\w.]) (?:{"|".join(ITEM_WORDS)})
        (?= (?: \s | \#[^\n]*+ )++ (?! (?:and|or|is|matches)\b ) ["A-Za-z0-9_] ) )
    | (?P<foreign> {FOREIGN} )
    """,
    re.VERBOSE,
)

# What begins an item even where brackets are open, when it stands at the start of a line.
_HEAD = re.compile(
    rf"""
    ^(?: (?:rule|extern) [ \t]+ (?:{"|".join(KINDS)}) [ \t]+ \w+ [ \t]* \(
       | (?:func|schedule|optimizer) [ \t]+ \w+ [ \t]* \(
       | optimizer [ \t]+ \w+ [ \t]+ from \b
       | edition [ \t]+ [0-9]
       | use [ \t]+ " )
    """,
    re.VERBOSE | re.MULTILINE,
)

# Possessive, since `# # # ...` can be cut into comments in very many ways.
_SPACE = re.compile(r"(?:\s|#[^\n]*+)*+")
_WORD_AT_END = re.compile(r"\w+\Z")
_BEFORE_NAME = tuple("=+-*/%@^<>.")


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one item, with the docstring before it.

    `sound` says that no mistake was found in it and `readable` that its brackets match; `holes`
    are offsets of statements that are known to be wrong.
    """

    start: int
    end: int
    sound: bool
    readable: bool
    holes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The repaired text, its pieces and its comments."""

    text: str
    pieces: tuple[Piece, ...]
    comments: tuple[Comment, ...]


def read_skeleton(source: Source, report: Diagnostics) -> Skeleton:
    """Cut a source into its items. Reports what needs no grammar to be seen."""
    reader = _Reader(source, report)
    reader.read()
    return Skeleton(reader.repaired(), tuple(reader.pieces()), tuple(reader.comments))


class _Reader:
    """One pass over a text; each mark that `_MARKS` finds has a method."""

    def __init__(self, source: Source, report: Diagnostics) -> None:
        self.comments: list[Comment] = []
        self._source = source
        self._report = report
        self._text = UNSEEN.sub(" ", source.text)
        self._starts: list[int] = []
        self._doc_end = self._doc_start = 0
        # The end of the last item's word, and whether that is `optimizer` and its head goes on.
        self._word_end = 0
        self._in_optimizer_head = False
        self._repairs: list[tuple[int, int, str]] = []
        self._brackets = Brackets(source, report)
        # Offsets of mistakes in what can still be read, and in what cannot.
        self._unsound: list[int] = []
        self._unreadable: list[int] = []

    def read(self) -> None:
        """Visit all marks."""
        for match in UNSEEN.finditer(self._source.text):
            self._unsound.append(match.start())
            if len(self._report) < MAX_DIAGNOSTICS:
                self._report.add(unseen_character(self._source, match.start()))
        visit = {
            "comment": self._comment,
            "doc": self._doc,
            "unclosed_doc": self._unclosed_doc,
            "unclosed_string": self._unclosed_string,
            "opening": self._opening,
            "closing": self._closing,
            "item": self._item,
            "foreign": self._foreign,
        }
        for match in _MARKS.finditer(self._text):
            if match.lastgroup in visit:
                visit[match.lastgroup](match)
        self._brackets.end_item()

    def repaired(self) -> str:
        """The text with all repairs made; as long as the original."""
        parts: list[str] = []
        done = 0
        for start, end, replacement in self._repairs:
            parts += self._text[done:start], replacement
            done = end
        return "".join((*parts, self._text[done:]))

    def pieces(self) -> Iterator[Piece]:
        """The items, and what stands before the first of them if it is not just comments."""
        all_holes = sorted(self._brackets.holes)
        all_unreadable = sorted((*self._unreadable, *self._brackets.unreadable))
        all_unsound = sorted((*self._unsound, *self._brackets.unsound))
        starts = [0, *self._starts]
        for start, end in zip(starts, [*self._starts, len(self._text)], strict=True):
            if not _SPACE.fullmatch(self._text, start, end):
                holes = _between(all_holes, start, end)
                readable = not _between(all_unreadable, start, end)
                sound = readable and not holes and not _between(all_unsound, start, end)
                yield Piece(start, end, sound, readable, tuple(holes))

    # ---- marks

    def _comment(self, match: re.Match[str]) -> None:
        text = match[0].rstrip()
        span = Span(self._source, match.start(), match.start() + len(text))
        self.comments.append(Comment(span, text))

    def _doc(self, match: re.Match[str]) -> None:
        self._doc_start, self._doc_end = match.span()

    def _unclosed_doc(self, match: re.Match[str]) -> None:
        span = Span(self._source, match.start(), match.start() + 3)
        self._report.add(
            UNCLOSED_STRING.at(span, "the docstring never ends", help='end it with `"""`')
        )
        self._unreadable.append(match.start())
        # All that follows is inside the docstring, so nothing is known about open brackets.
        self._brackets.forget()

    def _unclosed_string(self, match: re.Match[str]) -> None:
        # What closes or opens a block at the end of the line was not meant to be in the string.
        text = match[0].rstrip(" \t\r{}),") or match[0]
        start, end = match.start(), match.start() + len(text)
        self._report.add(
            UNCLOSED_STRING.at(
                Span(self._source, start, end),
                "the string does not end on its line",
                help='end it with `"`; a string has no line breaks',
            )
        )
        self._unsound.append(start)
        stand_in = f'"{"_" * (len(text) - 2)}"' if len(text) > 1 else "0"
        self._repairs.append((start, end, stand_in))
        for bracket in _MARKS.finditer(self._text, end, match.end()):
            visit = self._opening if bracket["opening"] else self._closing
            visit(bracket)

    def _foreign(self, match: re.Match[str]) -> None:
        start, end = match.span()
        in_list = self._brackets.innermost in ("(", "[")
        finding, stand_in = foreign_mark(self._source, start, match[0], in_list=in_list)
        self._report.add(finding)
        self._unsound.append(start)
        self._repairs.append((start, end, stand_in))

    def _item(self, match: re.Match[str]) -> None:
        start = match.start()
        if self._brackets.innermost is not None:
            if not _HEAD.match(self._text, start):
                return
        elif self._names_something(start):
            return
        self._brackets.end_item()
        self._word_end = match.end()
        self._in_optimizer_head = match[0] == "optimizer"
        if self._doc_end and _SPACE.fullmatch(self._text, self._doc_end, start):
            start = self._doc_start
        self._starts.append(start)

    def _names_something(self, start: int) -> bool:
        """Whether what stands before a word makes it a name: of an item, a base, a value."""
        end = self._end_before(start)
        word = _WORD_AT_END.search(self._text, max(0, end - 10), end)
        if word is None:
            return self._text[max(0, end - 1) : end] in _BEFORE_NAME
        in_head = end == self._word_end or (word[0] == "from" and self._in_optimizer_head)
        return in_head or word[0] in ("and", "or", "not", "matches")

    def _end_before(self, start: int) -> int:
        """The end of the last thing before an offset that is neither space nor a comment."""
        comment = len(self.comments)
        while start > 0:
            if self._text[start - 1].isspace():
                start -= 1
            elif comment > 0 and self.comments[comment - 1].span.end == start:
                comment -= 1
                start = self.comments[comment].span.start
            else:
                break
        return start

    # ---- brackets

    def _opening(self, match: re.Match[str]) -> None:
        self._in_optimizer_head = False
        self._brackets.open(match[0], match.start())

    def _closing(self, match: re.Match[str]) -> None:
        if not self._brackets.close(match[0], match.start()):
            self._repairs.append((*match.span(), " "))


def _between(offsets: list[int], start: int, end: int) -> list[int]:
    """Those of some sorted offsets that lie in a range."""
    return offsets[bisect_left(offsets, start) : bisect_left(offsets, end)]
