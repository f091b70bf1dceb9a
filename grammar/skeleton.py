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

from .bounds import MAX_NESTING, NESTED_TOO_DEEPLY
from .characters import FOREIGN, UNSEEN, foreign_mark, unseen_character
from .diagnostic import MAX_DIAGNOSTICS, Diagnostics, Label, declare
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

UNCLOSED_BRACKET = declare(
    "unclosed-bracket",
    "a bracket that is never closed",
    """
    Each `{`, `(` and `[` needs its closing bracket before the block around it ends, and before
    the next item of the file begins.

    Wrong: `mu <- b1 * (mu + g`.

    Right: `mu <- b1 * (mu + g)`.
    """,
)

STRAY_BRACKET = declare(
    "stray-bracket",
    "a closing bracket that closes nothing",
    """
    A closing bracket answers an opening one. One too many usually means that a block ended
    earlier than it looks.

    Wrong: `return sqrt(nu))`.

    Right: `return sqrt(nu)`.
    """,
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
_INDENTATION = re.compile(r"[ \t]*")


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
        self._open: list[tuple[str, int]] = []
        self._open_braces = 0
        # The `{` and `}` of the last block of this item whose two ends are indented differently.
        self._crooked: tuple[int, int] | None = None
        # Offsets of mistakes: in a piece that can be read, in a statement, in a piece that cannot.
        self._unsound: list[int] = []
        self._holes: list[int] = []
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
        self._end_item()

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
        for offsets in (self._unsound, self._holes, self._unreadable):
            offsets.sort()
        starts = [0, *self._starts]
        for start, end in zip(starts, [*self._starts, len(self._text)], strict=True):
            if not _SPACE.fullmatch(self._text, start, end):
                holes = _between(self._holes, start, end)
                readable = not _between(self._unreadable, start, end)
                sound = readable and not holes and not _between(self._unsound, start, end)
                yield Piece(start, end, sound, readable, tuple(holes))

    # ---- marks

    def _comment(self, match: re.Match[str]) -> None:
        text = match[0].rstrip()
        span = Span(self._source, match.start(), match.start() + len(text))
        self.comments.append(Comment(span, text))

    def _doc(self, match: re.Match[str]) -> None:
        self._doc_start, self._doc_end = match.span()

    def _unclosed_doc(self, match: re.Match[str]) -> None:
        span = self._span(match.start(), match.start() + 3)
        self._report.add(
            UNCLOSED_STRING.at(span, "the docstring never ends", help='end it with `"""`')
        )
        self._unreadable.append(match.start())
        # All that follows is inside the docstring, so nothing is known about open brackets.
        self._open.clear()

    def _unclosed_string(self, match: re.Match[str]) -> None:
        # What closes or opens a block at the end of the line was not meant to be in the string.
        text = match[0].rstrip(" \t\r{}),") or match[0]
        start, end = match.start(), match.start() + len(text)
        self._report.add(
            UNCLOSED_STRING.at(
                self._span(start, end),
                "the string does not end on its line",
                help='end it with `"`; a string has no line breaks',
            )
        )
        self._unsound.append(start)
        stand_in = f'"{"_" * (len(text) - 2)}"' if len(text) > 1 else "0"
        self._repairs.append((start, end, stand_in))
        for bracket in _MARKS.finditer(self._text, end, match.end()):
            (self._opening if bracket["opening"] else self._closing)(bracket)

    def _foreign(self, match: re.Match[str]) -> None:
        start, end = match.span()
        in_list = bool(self._open) and self._open[-1][0] != "{"
        finding, stand_in = foreign_mark(self._source, start, match[0], in_list=in_list)
        self._report.add(finding)
        self._unsound.append(start)
        self._repairs.append((start, end, stand_in))

    def _item(self, match: re.Match[str]) -> None:
        start = match.start()
        if self._open:
            if not _HEAD.match(self._text, start):
                return
            self._end_item()
        elif self._names_something(start):
            return
        self._word_end = match.end()
        self._in_optimizer_head = match[0] == "optimizer"
        if self._doc_end and _SPACE.fullmatch(self._text, self._doc_end, start):
            start = self._doc_start
        self._crooked = None
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
        if len(self._open) == MAX_NESTING:
            self._unreadable.append(match.start())
            self._report.add(
                NESTED_TOO_DEEPLY.at(
                    self._span(*match.span()),
                    f"this bracket is nested more than {MAX_NESTING} deep",
                    help="give names to parts of it",
                )
            )
        self._in_optimizer_head = False
        self._open_braces += match[0] == "{"
        self._open.append((match[0], match.start()))

    def _closing(self, match: re.Match[str]) -> None:
        if match[0] == "}" and self._open_braces:
            while self._open[-1][0] != "{":
                char, start = self._open.pop()
                self._holes.append(start)
                self._unclosed(char, start, Label(self._span(*match.span()), "the block ends here"))
            self._open_braces -= 1
            opening = self._open.pop()[1]
            if self._indentation(opening) != self._indentation(match.start()):
                self._crooked = opening, match.start()
        elif match[0] != "}" and self._open and self._open[-1][0] != "{":
            # `(` and `[` close each other: `in [0, 1)`. The grammar sees to the rest.
            self._open.pop()
        else:
            self._stray(match)

    def _stray(self, match: re.Match[str]) -> None:
        """A bracket that closes nothing; without it the text is read as if it were not there."""
        start, end = match.span()
        spoilt = self._unreadable if match[0] == "}" else self._unsound
        spoilt.append(start)
        self._repairs.append((start, end, " "))
        self._report.add(
            STRAY_BRACKET.at(
                self._span(start, end),
                f"this `{match[0]}` closes nothing",
                help="delete it, or look above for a bracket that closes too early",
            )
        )

    def _end_item(self) -> None:
        """Report the brackets that are open where the item ends."""
        for number, (char, start) in enumerate(self._open):
            self._unreadable.append(start)
            if number == 0 and self._crooked is not None:
                # By its looks, an inner block took the `}` that was meant for this one.
                start, end = self._crooked
                text = "this closes it, but by its indentation it is meant for a block around it"
                self._unclosed(char, start, Label(self._span(end, end + 1), text))
            else:
                self._unclosed(char, start)
        self._open.clear()
        self._open_braces = 0
        self._crooked = None

    def _unclosed(self, char: str, start: int, *others: Label) -> None:
        closing = {"{": "}", "(": ")", "[": "]"}[char]
        self._report.add(
            UNCLOSED_BRACKET.at(
                self._span(start, start + 1),
                f"this `{char}` is never closed",
                label="opened here",
                others=others,
                help=f"close it with `{closing}`",
            )
        )

    def _indentation(self, offset: int) -> str:
        """The white space that begins the line of an offset."""
        column = self._source.position(offset)[1]
        match = _INDENTATION.match(self._text, offset - column + 1)
        return match[0] if match else ""

    def _span(self, start: int, end: int) -> Span:
        return Span(self._source, start, end)


def _between(offsets: list[int], start: int, end: int) -> list[int]:
    """Those of some sorted offsets that lie in a range."""
    return offsets[bisect_left(offsets, start) : bisect_left(offsets, end)]
