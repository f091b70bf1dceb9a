"""Where statements begin and end, found without a grammar, so that a wrong one can be skipped."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from .syntax import KINDS

_STATEMENT = "state|var|repeat|if|every|when|return|evaluate|error"
_STAGE = "|".join(
    (
        *("observe", "request", "assert", "lifting", "group", "drop", "replace", "insert", *KINDS),
        # Not ours, but where one of them is, a statement was meant.
        *("elif", "for", "while", "let", "const", "def", "fn"),
    )
)

_MARKS = re.compile(
    rf"""
      \#[^\n]* | \"{{3}} [\s\S]*? \"{{3}} | "(?: [^"\\\n] | \\[^\n] )* "
    | (?P<opening> [({{\[] )
    | (?P<closing> [)}}\]] )
    | (?P<sure> (?<![\w.]) (?:{_STATEMENT}) (?= [ \t]+ [\w"(-]) )
    | (?P<statement> (?<![\w.]) (?:
          (?:{_STATEMENT}|{_STAGE})\b
        | [A-Za-z_]\w* [ \t]* (?: <- | [-+*/%@]?=(?![=>]) )
      ) )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Mark:
    """The start of a statement inside `depth` blocks, or the brace that ends such a block."""

    start: int
    depth: int
    brace: bool


class Statements:
    """The statements of one item.

    A statement begins a line, or follows a brace, with one of its words or with `name =` or
    `name <-`, outside round and square brackets if they match.
    """

    def __init__(self, text: str) -> None:
        self._marks = tuple(_marks(text))

    def around(self, offset: int) -> tuple[int, int] | None:
        """The start and end of the statement in which a mistake shows at an offset.

        A statement with blocks holds them. A mistake that shows at the first word of a statement
        was made in the one before. None when the offset is outside the body of the item.
        """
        here = bisect_right(self._marks, offset, key=lambda mark: mark.start) - 1
        if here < 0:
            return None
        mark = self._marks[here]
        if mark.start == offset and (mark.brace or self._follows_sibling(here)):
            here -= 1
        first = self._statement_at(here)
        if first is None:
            return None
        mark = self._marks[first]
        for later in self._marks[first + 1 :]:
            if later.depth <= mark.depth and (later.start >= offset or not later.brace):
                return mark.start, later.start
        return None

    def _follows_sibling(self, index: int) -> bool:
        """Whether the mark before is a statement of the same block."""
        mark, before = self._marks[index], self._marks[index - 1]
        return index > 0 and not before.brace and before.depth == mark.depth

    def _statement_at(self, index: int) -> int | None:
        """The mark at `index`, or when that is a brace, the statement whose block it ends."""
        mark = self._marks[index] if index >= 0 else None
        while mark is not None and mark.brace:
            depth = mark.depth - 1
            while index >= 0 and (self._marks[index].depth > depth or self._marks[index].brace):
                index -= 1
            mark = self._marks[index] if index >= 0 else None
        return index if mark is not None else None


def _marks(text: str) -> Iterator[_Mark]:
    depth, brackets, after = 0, 0, 0
    for match in _MARKS.finditer(text):
        start = match.start()
        if match.lastgroup in ("statement", "sure"):
            # A line that begins like `return x` is no argument: the bracket was never closed.
            inside = brackets and match.lastgroup == "statement"
            if depth and not inside and _begins_line(text, after, start):
                brackets = 0
                yield _Mark(start, depth, brace=False)
        elif match[0] in ("{", "}"):
            if match[0] == "}":
                yield _Mark(start, depth, brace=True)
            depth += 1 if match[0] == "{" else -1
            brackets = 0
        elif match.lastgroup == "opening":
            brackets += 1
        elif match.lastgroup == "closing":
            brackets = max(0, brackets - 1)
        after = match.end()


def _begins_line(text: str, after: int, start: int) -> bool:
    """Whether only space stands before `start` on its line, or after a brace before `after`."""
    line = text.rfind("\n", after, start)
    if line >= 0:
        return not text[line:start].strip()
    return text[after - 1] in "{}\n" and not text[after:start].strip()
