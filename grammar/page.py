"""The page on which the formatter writes: lines, and what was between them in the source.

Comments and empty lines are no part of the tree. The page holds the comments of the file and puts
each where the writer passes its place: at the end of the line that was just written when it stood
at the end of a line, on a line of its own otherwise.
"""

import re

from . import syntax as s
from .layout import argument_prefix, inline, inline_param, inline_params, outer_calls

WIDTH = 100
"""Lines are broken when they are longer than this."""

INDENT = "  "

_EMPTY_LINE = re.compile(r"\n[ \t\r]*\n")
_BEFORE_BRACKET = re.compile(r"(?:[\s,]|#[^\n]*)*")


class Page:
    """Written from top to bottom, in the order of the source."""

    def __init__(self, file: s.File) -> None:
        self._text = file.span.source.text
        self._lines: list[str] = []
        self._comments = sorted(file.comments, key=lambda c: c.span.start, reverse=True)
        # Whether the last line is or ends in a comment, and can take no other.
        self._commented = False
        # Whether the last line opened a bracket, so that no empty line follows.
        self._opened = True
        # The end, in the source, of what was written last.
        self._end = 0

    def text(self) -> str:
        """All lines, each with its line break."""
        return "".join(f"{line}\n" for line in self._lines)

    def reach(self, start: int, depth: int, *, apart: bool = False) -> None:
        """Write what stands before an offset: comments, and an empty line where there was one.

        With `apart`, there is an empty line in any case, before the first comment that belongs to
        what comes next.
        """
        apart = self.comments(start, depth, apart=apart)
        self._space(start, apart)

    def comments(self, end: int, depth: int, *, apart: bool = False) -> bool:
        """Write the comments that stand before an offset. Whether `apart` is still to be done."""
        while self._comments and self._comments[-1].span.start < end:
            comment = self._comments.pop()
            if not self._trail(comment):
                self._space(comment.span.start, apart)
                self.write(_comment(comment), depth)
                self._commented, self._opened, apart = True, False, False
            self._end = max(self._end, comment.span.end)
        return apart

    def write(self, text: str, depth: int) -> None:
        """Write one line."""
        self._lines.append(INDENT * depth + text if text else "")
        self._commented = False

    def extend(self, text: str) -> None:
        """Go on with the last line, up to an opening bracket."""
        self._lines[-1] += text
        self._opened = True

    def passed(self, end: int) -> None:
        """What was written last ends at an offset of the source."""
        self._end = end
        self._opened = False

    def open(self, text: str, depth: int) -> None:
        """Write one line that ends in an opening bracket."""
        self.write(text, depth)
        self._opened = True

    def opened(self) -> None:
        """What was written last ends in an opening bracket."""
        self._opened = True

    def close(self, end: int, depth: int, closing: str) -> None:
        """Write the comments before the end of a block, and a line that begins with its bracket."""
        self.comments(end, depth + 1)
        if self._opened and not self._commented:
            self._lines[-1] += closing
        else:
            self.write(closing, depth)
        self.passed(end)

    def put(self, prefix: str, expr: s.Expr, suffix: str, depth: int) -> None:
        """Write an expression; its widest call is broken when it is too long for one line."""
        flat = f"{prefix}{inline(expr)}{suffix}"
        call = self._to_break(expr, fits(flat, depth))
        if call is None:
            self.write(flat, depth)
            return
        head, tail = inline(expr, hole=call).split("\0")
        self.open(f"{prefix}{head}{inline(call.function)}(", depth)
        for row in self._rows(call):
            self.reach(row[0].span.start, depth + 1)
            if len(row) == 1:
                self.put(argument_prefix(row[0]), row[0].value, ",", depth + 1)
            else:
                self.write("".join(f"{inline(each.value)}, " for each in row)[:-1], depth + 1)
            self.passed(row[-1].span.end)
        self.close(call.span.end - 1, depth, f"){tail}{suffix}")

    def _rows(self, call: s.Call) -> list[tuple[s.Argument, ...]]:
        """The arguments of a broken call by line: one each, and each point of a table on one."""
        first, *table = call.arguments
        single: list[tuple[s.Argument, ...]] = [(argument,) for argument in call.arguments]
        if not isinstance(call.function, s.Name) or call.function.id != "interpolate":
            return single
        points = list(zip(table[::2], table[1::2], strict=False))
        said = all(argument.name is None for argument in call.arguments)
        parted = any(self.between(x.span.start, y.span.end) for x, y in points)
        short = all(fits(f"{inline(x.value)}, {inline(y.value)},", 8) for x, y in points)
        return (
            [(first,), *points] if said and short and not parted and len(table) % 2 == 0 else single
        )

    def put_params(
        self, prefix: str, params: tuple[s.Param, ...], suffix: str, depth: int = 0
    ) -> None:
        """Write a list of parameters, each on its line when it is too long for one."""
        flat = f"{prefix}{inline_params(params)}{suffix}"
        if fits(flat, depth) and not self.in_params(params):
            self.write(flat, depth)
            return
        self.open(f"{prefix}(", depth)
        for param in params:
            self.reach(param.span.start, depth + 1)
            self.write(f"{inline_param(param)},", depth + 1)
            self.passed(param.span.end)
        self.close(self._end_of(params), depth, f"){suffix}")

    def in_params(self, params: tuple[s.Param, ...]) -> bool:
        """Whether a comment stands in a list of parameters."""
        return bool(params) and self.between(params[0].span.start, self._end_of(params))

    def between(self, start: int, end: int) -> bool:
        """Whether a comment that is not yet written stands between two offsets."""
        for comment in reversed(self._comments):
            if comment.span.start >= start:
                return comment.span.start < end
        return False

    def _to_break(self, expr: s.Expr, short: bool) -> s.Call | None:
        """The call to be laid out with one argument on each line, if any."""
        start, end = expr.span.start, expr.span.end
        if short and not self.between(start, end):
            return None
        calls = [call for call in outer_calls(expr) if call.arguments]
        for call in calls:
            if self.between(call.span.start, call.span.end):
                return call
        return None if short else max(calls, key=lambda call: len(inline(call)), default=None)

    def _end_of(self, params: tuple[s.Param, ...]) -> int:
        """The offset of the bracket that closes a list of parameters."""
        match = _BEFORE_BRACKET.match(self._text, params[-1].span.end)
        return match.end() if match else params[-1].span.end

    def _space(self, start: int, apart: bool) -> None:
        """Write an empty line if there was one before an offset, or if it must be."""
        if not self._lines or self._opened:
            return
        if apart or _EMPTY_LINE.search(self._text, self._end, start):
            self.write("", 0)

    def _trail(self, comment: s.Comment) -> bool:
        """Write a comment at the end of the last line, if that is where it belongs."""
        line = self._text.rfind("\n", 0, comment.span.start) + 1
        alone = not self._text[line : comment.span.start].strip()
        if alone or self._commented or not self._lines or not self._lines[-1]:
            return False
        self._lines[-1] += f"  {_comment(comment)}"
        self._commented = True
        return True


def fits(text: str, depth: int) -> bool:
    """Whether a line is short enough."""
    return len(INDENT * depth) + len(text) <= WIDTH


def _comment(comment: s.Comment) -> str:
    """`#text` as `# text`; `#!` and rows of `#` stay."""
    text = comment.text
    return f"# {text[1:]}" if text[1:2].isalnum() else text
