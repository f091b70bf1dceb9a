"""The brackets of a file: which are open, which close which, and which do neither."""

import re

from .bounds import MAX_NESTING, NESTED_TOO_DEEPLY
from .diagnostic import Diagnostics, Label, declare
from .source import Source, Span

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

_CLOSING = {"{": "}", "(": ")", "[": "]"}
_INDENTATION = re.compile(r"[ \t]*")


class Brackets:
    """The brackets that are open, as a text is read from its start to its end.

    Reports brackets without a partner and keeps the offsets of these mistakes: `holes` in one
    statement, `unsound` where the text can be read without the bracket, `unreadable` where the
    item that holds it cannot be read.
    """

    def __init__(self, source: Source, report: Diagnostics) -> None:
        self.holes: list[int] = []
        self.unsound: list[int] = []
        self.unreadable: list[int] = []
        self._source = source
        self._report = report
        self._open: list[tuple[str, int]] = []
        self._open_braces = 0
        # The `{` and `}` of the last block of this item whose two ends are indented differently.
        self._crooked: tuple[int, int] | None = None

    @property
    def innermost(self) -> str | None:
        """The last bracket that is open."""
        return self._open[-1][0] if self._open else None

    def open(self, char: str, offset: int) -> None:
        """An opening bracket."""
        if len(self._open) == MAX_NESTING:
            self.unreadable.append(offset)
            self._report.add(
                NESTED_TOO_DEEPLY.at(
                    self._span(offset),
                    f"this bracket is nested more than {MAX_NESTING} deep",
                    help="give names to parts of it",
                )
            )
        self._open_braces += char == "{"
        self._open.append((char, offset))

    def close(self, char: str, offset: int) -> bool:
        """A closing bracket; whether it closes anything."""
        if char == "}" and self._open_braces:
            while self._open[-1][0] != "{":
                inner, start = self._open.pop()
                self.holes.append(start)
                self._unclosed(inner, start, Label(self._span(offset), "the block ends here"))
            self._open_braces -= 1
            _, opening = self._open.pop()
            if self._indentation(opening) != self._indentation(offset):
                self._crooked = opening, offset
            return True
        if char != "}" and self.innermost in ("(", "["):
            # `(` and `[` close each other: `in [0, 1)`. The grammar sees to the rest.
            self._open.pop()
            return True
        self._stray(char, offset)
        return False

    def end_item(self) -> None:
        """The item ends: what is open stays so."""
        for number, (char, start) in enumerate(self._open):
            self.unreadable.append(start)
            if number == 0 and self._crooked is not None:
                # By its looks, an inner block took the `}` that was meant for this one.
                start, end = self._crooked
                text = "this closes it, but by its indentation it is meant for a block around it"
                self._unclosed(char, start, Label(self._span(end), text))
            else:
                self._unclosed(char, start)
        self.forget()

    def forget(self) -> None:
        """Nothing is known about open brackets any more."""
        self._open.clear()
        self._open_braces = 0
        self._crooked = None

    def _stray(self, char: str, offset: int) -> None:
        # After a stray `}` the rest of the item is outside of it.
        spoilt = self.unreadable if char == "}" else self.unsound
        spoilt.append(offset)
        self._report.add(
            STRAY_BRACKET.at(
                self._span(offset),
                f"this `{char}` closes nothing",
                help="delete it, or look above for a bracket that closes too early",
            )
        )

    def _unclosed(self, char: str, start: int, *others: Label) -> None:
        self._report.add(
            UNCLOSED_BRACKET.at(
                self._span(start),
                f"this `{char}` is never closed",
                label="opened here",
                others=others,
                help=f"close it with `{_CLOSING[char]}`",
            )
        )

    def _indentation(self, offset: int) -> str:
        """The white space that begins the line of an offset."""
        column = self._source.position(offset)[1]
        match = _INDENTATION.match(self._source.text, offset - column + 1)
        return match[0] if match else ""

    def _span(self, offset: int) -> Span:
        return Span(self._source, offset, offset + 1)
