"""Characters that have no place in a spec, and what people mean by them."""

import re
import unicodedata

from .diagnostic import Diagnostic, Fix, declare
from .source import Source, Span

BAD_CHARACTER = declare(
    "bad-character",
    "a character that has no meaning in a spec",
    """
    Outside strings, docstrings and comments a spec is plain ASCII: names, numbers and the marks
    of the grammar. Control characters, and characters that change the direction of text, are
    refused everywhere, since a reader cannot see them. Lines end in a line feed, with or without
    a carriage return before it.

    Wrong: `a && b`, `x × y`, `'text'`, `x = 1;`.

    Right: `a and b`, `x * y`, `"text"`, `x = 1`.
    """,
)

UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]|\r(?!\n)"
)
"""Characters that no spec may hold, not even in a comment."""

FOREIGN = r"&&|\|\||\*\*|//[^\n]*|'[^'\n]*'|!(?!=)|[^\x20-\x7e\t\r\n]|[;$?\\`~&|']"
"""A pattern for what begins no token of the grammar, and for marks of other languages."""

# The same in this language, and what stands for it when reading goes on: text of the same length
# that may stand in the same place.
_MEANT = {
    "&&": ("and", "+ "),
    "||": ("or", "+ "),
    "&": ("and", "+"),
    "|": ("or", "+"),
    "!": ("not", "-"),
    "**": ("^", "^ "),
    "×": ("*", "*"),
    "·": ("*", "*"),
    "÷": ("/", "/"),
    "−": ("-", "-"),
    "–": ("-", "-"),
    "≤": ("<=", "<"),
    "≥": (">=", ">"),
    "≠": ("!=", "<"),
    "“": ('"', " "),
    "”": ('"', " "),
}


def unseen_character(source: Source, offset: int) -> Diagnostic:
    """The finding for a control character."""
    char = source.text[offset]
    name = unicodedata.name(char, "control character").lower()
    return BAD_CHARACTER.at(
        Span(source, offset, offset + 1),
        f"the text holds a {name} (U+{ord(char):04X})",
        label="not allowed, even in comments and strings",
        help="delete it",
    )


def foreign_mark(source: Source, start: int, mark: str, *, in_list: bool) -> tuple[Diagnostic, str]:
    """The finding for a match of `FOREIGN`, and what stands for it when reading goes on."""
    span = Span(source, start, start + len(mark))
    if mark in _MEANT:
        ours, stand_in = _MEANT[mark]
        return _mistake(span, f"write `{ours}`", ours), stand_in
    if mark == ";" and in_list:
        return _mistake(span, "write `,`", ","), ","
    if mark == ";":
        return _mistake(span, "leave it out: a statement needs no end mark", ""), " "
    if mark.startswith("//"):
        span = Span(source, start, start + 2)
        # Not safe: elsewhere two slashes divide.
        return _mistake(span, "a comment begins with `#`", "#", safe=False), " " * len(mark)
    if mark.startswith("'") and len(mark) > 1:
        string = '"' + mark[1:-1].replace('"', "_") + '"'
        plain = not re.search(r'["\\]', mark)
        proposal = "a string stands between double quotes"
        return _mistake(span, proposal, string, safe=plain), string
    if mark.isalpha():
        return _mistake(span, "names are made of ASCII letters, digits and `_`", None), "_"
    return _mistake(span, None, None), " "


def _mistake(
    span: Span, proposal: str | None, replacement: str | None, *, safe: bool = True
) -> Diagnostic:
    shown = span.text if len(span.text) <= 20 else f"{span.text[:20]}..."
    fix = None if replacement is None else Fix(span, replacement, safe)
    return BAD_CHARACTER.at(span, f"`{shown}` has no meaning in a spec", help=proposal, fix=fix)
