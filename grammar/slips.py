"""Common mistakes, recognised by example: a table of what stands where a sentence broke off."""

import re
from collections.abc import Set
from dataclasses import dataclass

from .diagnostic import Diagnostic, Fix, did_you_mean
from .expected import SYNTAX_ERROR, Failure, expectation
from .skeleton import ITEM_WORDS
from .syntax import KINDS

_WINDOW = 300
"""How far a pattern looks back from the mistake."""


@dataclass(frozen=True, slots=True)
class Slip:
    """One mistake and what is said about it.

    It is recognised when the found terminal is one of `found` (any when empty), all of `expected`
    would have been understood, and the text around the mistake matches: `before` up to it, `after`
    from it on. The group `at`, in either pattern, is the text that is wrong; without one it is the
    token itself. Messages may name the groups, and `found` for the token.
    """

    message: str
    help: str
    found: Set[str] = frozenset()
    expected: Set[str] = frozenset()
    only: bool = False
    before: str = r"\Z"
    after: str = ""
    fix: str | None = None

    def recognise(self, failed: Failure) -> Diagnostic | None:
        """The finding, when this is what happened."""
        if self.found and failed.kind not in self.found:
            return None
        if not self.expected <= failed.expected or (self.only and self.expected < failed.expected):
            return None
        before = re.search(self.before, failed.before[-_WINDOW:])
        after = re.match(self.after, failed.after)
        if before is None or after is None:
            return None
        words = {"found": failed.found, **before.groupdict(), **after.groupdict()}
        span = failed.span()
        if "at" in before.groupdict():
            cut = len(failed.before) - min(len(failed.before), _WINDOW)
            offset = -len(failed.before) + cut
            span = failed.span(offset + before.start("at"), offset + before.end("at"))
        elif "at" in after.groupdict():
            span = failed.span(after.start("at"), after.end("at"))
        fix = None if self.fix is None else Fix(span, self.fix, safe=True)
        return SYNTAX_ERROR.at(
            span, self.message.format(**words), help=self.help.format(**words), fix=fix
        )


_VALUE = frozenset({"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "LPAR"})
_ASSIGN = frozenset({"EQUAL", "UPDATE"})
_STATEMENT_WORD = r"(?:state|var|repeat|if|every|when|return|evaluate|error)"

# The first row that fits is the answer, so the narrower mistake stands before the wider one.
_SLIPS = (
    Slip(
        "the value is not finished where its line ends",
        "the next line was read as a part of it",
        found=_ASSIGN,
        expected={"COMPARE"},
        before=r"(?P<at>[-+*/%@^=]|<-)[ \t\r]*(?:#[^\n]*)?\n\s*\w+\s*\Z",
    ),
    Slip(
        "the value is not finished where its line ends",
        "the next line was read as a part of it",
        expected={"COMPARE"},
        before=rf"(?P<at>[-+*/%@^=]|<-)[ \t\r]*(?:#[^\n]*)?\n\s*{_STATEMENT_WORD}\s*\Z",
    ),
    Slip(
        "the value is not finished where its line ends",
        "the next line was read as a part of it",
        expected=_ASSIGN,
        before=rf"(?P<at>[-+*/%@^=]|<-)[ \t\r]*(?:#[^\n]*)?\n\s*{_STATEMENT_WORD}\s+\w+\s*\Z",
    ),
    Slip(
        "`=` does not compare",
        "write `==` to compare two values",
        found={"EQUAL"},
        expected={"COMPARE"},
        fix="==",
    ),
    Slip(
        "`{at}` begins a statement, so no value can have this name",
        "choose another name",
        found=_ASSIGN,
        before=rf"\b(?P<at>{_STATEMENT_WORD})\s*\Z",
    ),
    Slip(
        "`<-` gives a new value to something that has one",
        "write `=` where it gets its first",
        found={"UPDATE"},
        expected={"EQUAL"},
        fix="=",
    ),
    Slip(
        "`{at}` is not a stage",
        "an optimizer holds stages; names for values are given in rules and functions",
        found=_ASSIGN,
        expected={"NAME"},
        only=True,
        before=r"[\n{}]\s*(?P<at>\w+)\s*\Z",
    ),
    Slip(
        "`{found}=` does not update a value",
        "write `{name} <- {name} {found} ...`",
        found={"PLUS", "MINUS", "PRODUCT"},
        expected={"UPDATE"},
        before=r"\b(?P<name>\w+)\s*\Z",
        after=r"(?P<at>[-+*/%@]=)",
    ),
    Slip(
        "`{at}` is not a word of the language",
        "write `else if` or `else when`",
        expected=_ASSIGN,
        before=r"\b(?P<at>elif|elsif|elseif)\s*\Z",
    ),
    Slip(
        "`{at}` is not a statement",
        "loops are bounded: `repeat n {{ ... }}` or `repeat n while condition {{ ... }}`",
        expected=_ASSIGN,
        before=r"\b(?P<at>for|while|loop)\s*\Z",
    ),
    Slip(
        "`{found}` is not a statement",
        "loops are bounded: `repeat n while condition {{ ... }}`",
        found={"WHILE"},
        expected={"RETURN"},
    ),
    Slip(
        "`{at}` is not a word of the language",
        "`name = value` names a value, `var name = value` one that loops may change",
        expected=_ASSIGN,
        before=r"\b(?P<at>let|const|mut|float|int)\s*\Z",
    ),
    Slip(
        "`{at}` is not a word of the language",
        "functions are items of the file: `func name(x) {{ ... }}`",
        expected=_ASSIGN,
        before=r"\b(?P<at>def|fn|func|function)\s*\Z",
    ),
    Slip(
        "`{name}` has no parameters",
        "write `{name}()` where there are none",
        found={"LBRACE", "EQUAL", "EQUALS"},
        expected={"LPAR"},
        before=r"\b(?:(?:rule|extern)\s+\w+|func|schedule|optimizer)\s+(?P<at>(?P<name>\w+))\s*\Z",
    ),
    Slip(
        "`{at}` has no kind",
        "the kind stands before the name: `{word} clip {at}(...)`",
        found={"LPAR"},
        expected={"NAME"},
        before=r"\b(?P<word>rule|extern)\s+(?P<at>\w+)\s*\Z",
    ),
    Slip(
        "`{at}` begins no stage",
        "a condition begins with `where`",
        found={"COMPARE", "PLUS", "MINUS", "PRODUCT", "CIRCUMFLEX", "AND", "OR", "IS", "MATCHES"},
        expected={"WHERE", "OBSERVE"},
        before=rf"\b(?!(?:{'|'.join(KINDS)})\b)(?P<at>[A-Za-z_]\w*)\s+\w+\s*\Z",
    ),
    Slip(
        "`tune` without `step`",
        "write `tune step {found}`",
        expected={"STEP"},
        before=r"\b(?P<at>tune)\s*\Z",
    ),
    Slip(
        "comparisons do not chain",
        "join two comparisons with `and`: `a < b and b < c`",
        found={"COMPARE", "IS", "MATCHES"},
        expected={"AND"},
    ),
    Slip(
        "only an argument of a call can be a function `x => ...`",
        "give the expression itself, or declare a `func`",
        found={"ARROW"},
    ),
    Slip(
        "`{at}` is not a number",
        "numbers look like `3`, `0.5`, `1e-3` and `10_000`",
        after=r"(?P<at>[0-9](?:[\w.]|(?<=[eE])[-+])*)",
        found={""},
    ),
    Slip(
        "`{at}` is not a number",
        "write `0{at}`",
        found={"DOT"},
        expected={"NUMBER"},
        after=r"(?P<at>\.[0-9]+)",
    ),
    Slip(
        "two values without an operator",
        "write `*` to multiply them",
        found={"LPAR"},
        expected={"COMPARE"},
        before=r"\b[0-9][\w.]*\s*\Z",
    ),
    Slip(
        "only a name can be called",
        "write `*` to multiply, or declare a `func` for what is called",
        found={"LPAR"},
        expected={"COMPARE"},
        before=r"\)\s*\Z",
    ),
    Slip(
        "the docstring belongs to no item",
        "a docstring stands before an item, or opens its body",
        found={"$END"},
        expected={"RULE"},
        before=r'(?P<at>"{3}(?:(?!"{3})[\s\S])*"{3})\Z',
    ),
    Slip(
        "a comma is missing before `{found}`",
        "write `,` between two arguments or parameters",
        found=_VALUE,
        expected={"COMMA", "RPAR"},
    ),
)


def explain(failed: Failure) -> Diagnostic:
    """The finding for a syntax error: the mistake by its name, or what was expected."""
    for slip in _SLIPS:
        finding = slip.recognise(failed)
        if finding is not None:
            return finding
    if failed.kind == "NAME" and ("$END" in failed.expected or "RULE" in failed.expected):
        return _no_item(failed)
    return expectation(failed)


def _no_item(failed: Failure) -> Diagnostic:
    """Text where an item should begin that begins none."""
    items = "the items of a file are " + ", ".join(f"`{word}`" for word in ITEM_WORDS)
    return SYNTAX_ERROR.at(
        failed.span(),
        f"`{failed.found}` does not begin an item",
        help=did_you_mean(failed.found, ITEM_WORDS) or items,
    )
