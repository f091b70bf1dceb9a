"""What literals stand for: numbers, strings and docstrings, from their spelling and back."""

import math
import re

from .diagnostic import Diagnostics, declare
from .source import Span

MAX_DIGITS = 18
"""An int literal has at most this many digits, and so fits 64 bits."""

MAX_LENGTH = 40
"""A literal with a point or an exponent has at most this many characters."""

_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}
_SPELLINGS = {char: f"\\{letter}" for letter, char in _ESCAPES.items()}

NUMBER_OUT_OF_RANGE = declare(
    "number-out-of-range",
    "a number that the compiler cannot hold",
    """
    A whole number has at most 18 digits, and a number with a point or an exponent must be one
    that float64 can hold: not so large that it becomes infinite, not so small that it becomes
    zero, and at most 40 characters long.

    Wrong: `eps = 1e-999`, which would silently be 0.

    Right: `eps = 1e-30`, or `inf` in a range that has no end.
    """,
)

BAD_ESCAPE = declare(
    "bad-escape",
    "a backslash in a string that stands for nothing",
    r"""
    In a string, a backslash begins one of four escapes: `\"` a quote, `\\` a backslash, `\n` a
    new line and `\t` a tab. Anything else after a backslash is refused, so that a pattern means
    to every reader what it means to the compiler.

    Wrong: `path matches "layer\d"`.

    Right: `path matches "layer\\d"`.
    """,
)


def number_value(spelling: str, span: Span, report: Diagnostics) -> int | float:
    """The value of a number: an int when it has no point and no exponent.

    Reports `number-out-of-range`, and then is 0.
    """
    digits = spelling.replace("_", "")
    if digits.isdigit():
        if len(digits) <= MAX_DIGITS:
            return int(digits)
        problem = f"has {len(digits)} digits; a whole number has at most {MAX_DIGITS}"
    elif len(spelling) > MAX_LENGTH:
        problem = f"has {len(spelling)} characters; at most {MAX_LENGTH} are read"
    else:
        value = float(digits)
        # A mantissa with a digit other than 0 is not zero, so a zero value lost it.
        lost = value == 0.0 and re.match(r"[0.]*[1-9]", digits) is not None
        if math.isfinite(value) and not lost:
            return value
        problem = "is too small for float64" if lost else "is too large for float64"
    shown = spelling if len(spelling) <= MAX_LENGTH else f"{spelling[:MAX_LENGTH]}..."
    report.add(NUMBER_OUT_OF_RANGE.at(span, f"the number `{shown}` {problem}"))
    return 0


def string_value(spelling: str, span: Span, report: Diagnostics) -> str:
    """What a string literal, given with its quotes, stands for. Reports `bad-escape`."""

    def escaped(match: re.Match[str]) -> str:
        letter = match[1]
        if letter not in _ESCAPES:
            start = span.start + 1 + match.start()
            report.add(
                BAD_ESCAPE.at(
                    Span(span.source, start, start + 2),
                    f"`\\{letter}` stands for nothing in a string",
                    label="not an escape",
                    help=f"write `\\\\{letter}` for a backslash followed by `{letter}`",
                )
            )
        return _ESCAPES.get(letter, match[0])

    return re.sub(r"\\(.)", escaped, spelling[1:-1])


def quote(value: str) -> str:
    r"""The string literal that stands for `value`.

    >>> print(quote('say "hi"'))
    "say \"hi\""
    """
    return '"' + "".join(_SPELLINGS.get(char, char) for char in value) + '"'


def doc_text(spelling: str) -> str:
    r"""The text of a docstring literal: without quotes, common indentation and outer blank lines.

    The first line has no indentation of its own to lose; the others lose what they share.

    >>> print(doc_text('\"\"\"One.\n    Two.\n      Three.\n\"\"\"'))
    One.
    Two.
      Three.
    """
    first, *rest = (line.expandtabs(4).rstrip(" \r") for line in spelling[3:-3].split("\n"))
    margin = min((len(line) - len(line.lstrip(" ")) for line in rest if line), default=0)
    lines = [first.lstrip(" "), *(line[margin:] for line in rest)]
    return "\n".join(lines).strip("\n ")
