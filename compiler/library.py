"""The library of specs that comes with the package: one declaration in each file.

`specs/KIND/NAME.opt` declares the rule `KIND NAME`, or the schedule, func or optimizer NAME.
Files are read when something asks for their name, so a check parses only what it uses.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, SpecError
from ..grammar.parse import parse
from ..grammar.source import Source

SHELVES = ("optimizer", *syntax.KINDS, "schedule", "func")
"""What the library holds: optimizers, rules by kind, schedules, functions."""

Declared = (
    syntax.RuleDecl
    | syntax.ScheduleDecl
    | syntax.FuncDecl
    | syntax.ExternDecl
    | syntax.OptimizerDecl
    | syntax.VariantDecl
)
"""The items that declare something."""

_SENTENCE = re.compile(r"(?<=[.])\s+(?=[A-Z`]|arXiv:)")
"""Where a sentence ends and another begins."""

_DOCSTRING = re.compile(r'[ \t]*""".*?"""[ \t]*\n?', re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One declaration of the library, as its file says it."""

    kind: str
    name: str
    doc: str
    params: tuple[tuple[str, str, str], ...]
    text: str
    equals: str = ""

    @property
    def summary(self) -> str:
        """The first sentence of the documentation, on one line."""
        text = " ".join(self.doc.split())
        return _SENTENCE.split(text, maxsplit=1)[0]

    @property
    def twin(self) -> str:
        """The name of the implementation that the entry claims to equal, if it claims one."""
        return self.equals.partition("(")[0]

    @property
    def definition(self) -> str:
        """The text without its documentation."""
        return _DOCSTRING.sub("", self.text, count=1).strip()


def _shelf(kind: str) -> Traversable:
    return files("optc.specs") / kind


def in_library(path: Path) -> bool:
    """Whether a file is one of the library's own."""
    shelves = files("optc.specs")
    return isinstance(shelves, Path) and path.resolve().is_relative_to(shelves.resolve())


@cache
def names(kind: str) -> tuple[str, ...]:
    """The names of everything of one kind, in alphabetical order."""
    shelf = _shelf(kind)
    if not shelf.is_dir():
        return ()
    found = (file.name for file in shelf.iterdir())
    return tuple(sorted(name.removesuffix(".opt") for name in found if name.endswith(".opt")))


def written(kind: str, name: str) -> str:
    """The text of one entry that the library has."""
    return (_shelf(kind) / f"{name}.opt").read_text(encoding="utf-8")


@cache
def file(kind: str, name: str) -> syntax.File | None:
    """The parsed file of one entry, or None when the library has none of that name."""
    if name not in names(kind):
        return None
    text = written(kind, name)
    report = Diagnostics()
    parsed = parse(Source(f"{kind}/{name}.opt", text), report)
    if len(report):
        raise SpecError(report)
    return parsed


def entries() -> tuple[Entry, ...]:
    """Everything in the library, kind by kind."""
    return tuple(_entry(kind, name) for kind in SHELVES for name in names(kind))


def _entry(kind: str, name: str) -> Entry:
    parsed = file(kind, name)
    assert parsed is not None
    item = next(i for i in parsed.items if not isinstance(i, syntax.Edition | syntax.Use))
    return entry(kind, item, item.params, item.span.source.text)


def entry(
    kind: str, item: Declared, params: tuple[syntax.Param, ...], text: str | None = None
) -> Entry:
    """A declaration as an entry; `params` are those that it takes, and `text` is its own."""
    doc = item.doc.text if item.doc else ""
    shown = tuple(_param(param) for param in params)
    equals = getattr(item, "equals", None)
    claim = equals.span.text if equals is not None else ""
    return Entry(kind, item.name.id, doc, shown, text or item.span.text, claim)


def _param(param: syntax.Param) -> tuple[str, str, str]:
    default = param.default.span.text if param.default else ""
    bounds = param.range.span.text if param.range else ""
    return param.name.id, default, bounds
