"""Syntax errors in a person's words: what stood there, and what was expected instead."""

from dataclasses import dataclass
from typing import Any, cast

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from .diagnostic import Diagnostic, declare
from .source import Source, Span

SYNTAX_ERROR = declare(
    "syntax-error",
    "text that is not a sentence of the language",
    """
    The text does not follow the grammar at this place. The message says what would have been
    understood there; when the mistake is a common one, the help says how to write what was
    probably meant.

    Wrong: `tune warmup(500)`, `if t = 1 { ... }`, `rule clip unit { ... }`.

    Right: `tune step warmup(500)`, `if t == 1 { ... }`, `rule clip unit() { ... }`.
    """,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Where and how an item stopped being understood.

    `kind` is the name of the terminal that was found (`$END` at the end of the item, empty for
    characters that begin no token), `expected` are the terminals that would have done, and
    `before` and `after` the text of the item around `start`.
    """

    source: Source
    start: int
    end: int
    kind: str
    expected: frozenset[str]
    before: str
    after: str

    @property
    def found(self) -> str:
        """The text of the token that was not expected."""
        return self.after[: self.end - self.start]

    def span(self, start: int = 0, end: int | None = None) -> Span:
        """The token's span, or a part of the text by offsets from its start."""
        last = self.end if end is None else self.start + end
        return Span(self.source, self.start + start, last)


# Terminals that stand for a class of things, when all of these may come next.
_CLASSES = (
    ("an item", {"RULE", "FUNC"}, {"SCHEDULE", "EXTERN", "OPTIMIZER", "EDITION", "USE"}),
    ("a value", {"NUMBER", "LPAR", "NAME"}, {"STRING", "TRUE", "FALSE", "NOT", "MINUS"}),
    (
        "a statement",
        {"RETURN", "STATE"},
        {"NAME", "VAR", "REPEAT", "IF", "WHEN", "EVERY", "EVALUATE", "ERROR"},
    ),
    ("a stage", {"OBSERVE", "NAME"}, {"TUNE", "ACCUMULATE", "GROUP", "ASSERT", "LIFTING"}),
    ("a stage", {"TUNE", "NAME"}, {"ACCUMULATE"}),
)

# What can always come after a value, and is said only when nothing else can.
_CONTINUATIONS = {
    *("PLUS", "MINUS", "PRODUCT", "CIRCUMFLEX", "COMPARE"),
    *("AND", "OR", "IS", "MATCHES", "DOT", "LPAR"),
}

_WORDS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a string",
    "DOC": "a docstring",
    "COMPARE": "a comparison",
    "PRODUCT": "an operator",
    "UPDATE": "`<-`",
    "ARROW": "`=>`",
    "EQUAL": "`=`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "DOT": "`.`",
    "PLUS": "`+`",
    "MINUS": "`-`",
    "CIRCUMFLEX": "`^`",
    "__ANON_0": "`..`",
    "$END": "the end of the item",
}


def failure(error: UnexpectedInput, source: Source, text: str, base: int) -> Failure:
    """What Lark says about a text that begins at offset `base` of its source."""
    # Lark does not annotate these: the parser as it stood, and where it stood.
    parser: Any = error.interactive_parser
    expected = frozenset(parser.accepts())
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        start, end, kind = error.token.start_pos or 0, error.token.end_pos or 0, error.token.type
    elif isinstance(error, UnexpectedCharacters):
        start, kind = cast(int, error.pos_in_stream), ""
        end = start + 1
    else:
        # Lark places the end of its input at the last token's start.
        last = parser.lexer_thread.state.last_token
        start = end = 0 if last is None else last.end_pos
        kind = "$END"
    return Failure(source, base + start, base + end, kind, expected, text[:start], text[start:])


def expectation(failed: Failure) -> Diagnostic:
    """The plain finding: what was found and what would have been understood."""
    wanted = describe(failed.expected)
    if failed.kind == "$END":
        message = f"expected {wanted}, but the item ends here"
    else:
        message = f"expected {wanted}, found {_thing(failed)}"
    return SYNTAX_ERROR.at(failed.span(), message, label=f"expected {wanted}")


def describe(terminals: frozenset[str]) -> str:
    """The names of terminals in words: "a value, `)` or `,`"."""
    left = set(terminals)
    words = []
    for word, sure, others in _CLASSES:
        if sure <= left:
            words.append(word)
            left -= sure | others
    rest = left - _CONTINUATIONS if left & {"PRODUCT", "DOT"} else left
    if not rest and not words and left:
        return "an operator"
    if len(rest) > 1 or words:
        rest.discard("DOC")
    words += sorted(_WORDS.get(name, f"`{name.lower()}`") for name in rest)
    *first, last = words or ["the end of the item"]
    return f"{', '.join(first)} or {last}" if first else last


def _thing(failed: Failure) -> str:
    found = failed.found
    if failed.kind == "DOC":
        return "a docstring"
    if failed.kind == "STRING" and len(found) > 30:
        return "a string"
    return f"`{found if len(found) <= 40 else found[:40] + '...'}`"
