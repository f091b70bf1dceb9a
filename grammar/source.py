"""Source texts and the spans that point into them."""

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

_STRING = r'"(?:\\.|[^"\\])*"'
_GAP = r"(?>(?:\s|#[^\n]*)+)"
_PIECE = re.compile(rf"({_STRING})|(?<=[(\[]){_GAP}|,?{_GAP}(?=[)\]])|({_GAP})")


@dataclass(frozen=True, eq=False)
class Source:
    """One text with the name that a person knows it by (a path, a library name, `<string>`).

    Two sources are equal only when they are the same object.
    """

    name: str
    text: str

    @cached_property
    def _line_starts(self) -> tuple[int, ...]:
        starts = [0]
        for offset, char in enumerate(self.text):
            if char == "\n":
                starts.append(offset + 1)
        return tuple(starts)

    def position(self, offset: int) -> tuple[int, int]:
        """The line and column, both counted from 1, of a character offset."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def start_of(self, number: int) -> int:
        """The offset at which line `number`, counted from 1, begins."""
        return self._line_starts[number - 1]

    def line(self, number: int) -> str:
        """The text of line `number`, counted from 1, without its line break."""
        starts = self._line_starts
        start = starts[number - 1]
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Span:
    """The characters `start` (inclusive) to `end` (exclusive) of a source."""

    source: Source = field(repr=False)
    start: int
    end: int

    @property
    def line(self) -> int:
        """The line, counted from 1, on which the span starts."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """The column, counted from 1, at which the span starts."""
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        """The characters that the span covers."""
        return self.source.text[self.start : self.end]

    @property
    def in_one_line(self) -> str:
        """The text without comments and line breaks, nor the last comma of a broken list."""
        return _PIECE.sub(lambda piece: piece[1] or (" " if piece[2] else ""), self.text)

    @property
    def place(self) -> str:
        """`name:line`, as generated code and messages cite it."""
        return f"{self.source.name}:{self.line}"

    def to(self, other: "Span") -> "Span":
        """The span from the start of this one to the end of `other`, of one source."""
        return Span(self.source, self.start, other.end)
