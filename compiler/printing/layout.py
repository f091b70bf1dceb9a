"""Laying out Python text so that a formatter changes nothing.

Lines are at most `WIDTH` wide. A call, tuple or dict that does not fit on its line is exploded,
one element a line with a trailing comma, which is the form that formatters keep.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..quoting import escape, quoted

WIDTH = 88
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Group:
    """Text that may be exploded: `open`, elements, `close`; elements may be groups too.

    A one-element tuple keeps its comma on one line as well.
    """

    open: str
    elements: "tuple[Piece, ...]"
    close: str
    lone_comma: bool = False


@dataclass(frozen=True, slots=True)
class Labelled:
    """`label` directly before a piece: `name=`, or a dict's `"key": `."""

    label: str
    piece: "Piece"


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands with the operators before them, `a`, `& b`, which may stand a line each."""

    parts: tuple[str, ...]


Piece = str | Group | Labelled | Chain


def call(function: str, *arguments: Piece) -> Piece:
    """`function(arguments)`."""
    return Group(f"{function}(", arguments, ")")


def mapping(entries: Sequence[tuple[str, Piece]]) -> Piece:
    """A dict whose keys are texts."""
    return Group("{", tuple(Labelled(f"{quoted(key)}: ", piece) for key, piece in entries), "}")


def tuple_of(elements: Sequence[Piece]) -> Piece:
    """A tuple in parentheses."""
    return Group("(", tuple(elements), ")", lone_comma=True)


def list_of(elements: Sequence[Piece], after: str = "") -> Piece:
    """A list, and what is done with it."""
    return Group("[", tuple(elements), f"]{after}")


def flat(piece: Piece) -> str:
    """The piece on one line."""
    match piece:
        case str():
            return piece
        case Labelled():
            return piece.label + flat(piece.piece)
        case Group():
            inner = ", ".join(flat(e) for e in piece.elements)
            comma = "," if piece.lone_comma and len(piece.elements) == 1 else ""
            return f"{piece.open}{inner}{comma}{piece.close}"
        case Chain():
            return " ".join(piece.parts)


def lines(piece: Piece, indent: int, before: str = "", after: str = "") -> list[str]:
    """The piece in as few lines as fit, `before` in front of it and `after` behind."""
    one = INDENT * indent + before + flat(piece) + after
    if len(one) <= WIDTH or isinstance(piece, str):
        return [one]
    if isinstance(piece, Labelled):
        return lines(piece.piece, indent, before + piece.label, after)
    if isinstance(piece, Chain):
        return _chain_lines(piece, indent, before, after)
    if not piece.elements:
        return [one]
    result = [INDENT * indent + before + piece.open]
    for element in piece.elements:
        result += lines(element, indent + 1, "", ",")
    return [*result, INDENT * indent + piece.close + after]


def _chain_lines(chain: Chain, indent: int, before: str, after: str) -> list[str]:
    """A line for each part; where the chain does not have lines of its own, in parentheses.

    There all parts stand on one line if they fit.
    """
    if not before:
        *rows, last = (INDENT * indent + part for part in chain.parts)
        return [*rows, last + after]
    rows = [INDENT * (indent + 1) + " ".join(chain.parts)]
    if len(rows[0]) > WIDTH:
        rows = [INDENT * (indent + 1) + part for part in chain.parts]
    return [f"{INDENT * indent}{before}(", *rows, f"{INDENT * indent}){after}"]


def assigned(targets: Sequence[str], piece: Piece, indent: int) -> list[str]:
    """`a, b = piece` in as few lines as fit; targets that are too long stand a line each."""
    before = f"{', '.join(targets)} = "
    room = WIDTH - len(INDENT * indent)
    if len(before + flat(piece)) <= room or not isinstance(piece, Group):
        return lines(piece, indent, before)
    if len(before + piece.open) <= room:
        return lines(piece, indent, before)
    tab = INDENT * indent
    if len(before) < room:
        return [f"{tab}{before}(", *lines(piece, indent + 1), f"{tab})"]
    rows = [f"{tab}{INDENT}{target}," for target in targets]
    return [f"{tab}(", *rows, *lines(piece, indent, ") = ")]


def signature(name: str, parameters: Sequence[str], indent: int = 0) -> list[str]:
    """The head of a function definition."""
    return lines(Group(f"def {name}(", tuple(parameters), "):"), indent)


def docstring(text: str) -> list[str]:
    """A docstring's lines, safe whatever the text holds."""
    safe = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    safe = "".join(c if c.isprintable() or c == "\n" else escape(c) for c in safe)
    rows = [row.rstrip() for row in safe.strip().split("\n")]
    end = " " if rows[-1].endswith('"') else ""
    if len(rows) == 1:
        return [f'"""{rows[0]}{end}"""']
    return [f'"""{rows[0]}', *rows[1:], '"""']


def comment(text: str) -> str:
    """A comment on one line, whatever the text holds."""
    return "# " + "".join(c if c.isprintable() else " " for c in text)
