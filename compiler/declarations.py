"""What the names of a file stand for: its own items, those of used files, the library's."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, declare
from ..grammar.parse import parse
from ..grammar.source import Source
from . import library

DUPLICATE_NAME = declare(
    "duplicate-name",
    "one name is declared twice",
    """
    Within one file, a kind of rule, the schedules, the functions and the optimizers each have
    their own names, and each name is declared once. The same holds for the parameters of one
    declaration, the names of one rule body, the groups of an optimizer and what it observes.

        rule clip half() { return g / 2 }
        rule clip half() { return g * 0.5 }     # a second `half`

    A file may declare a name that the library has too; the file's own meaning holds in it.
    """,
)
USE_FAILED = declare(
    "use-failed",
    "a used file cannot be read",
    """
    `use "path.opt"` reads a file relative to the one that says it. Only files in or below the
    folder of the first spec are read, unless the caller allows another folder, so that a spec
    from a stranger cannot look around. The library needs no `use`: its names are always there.
    """,
)
CIRCULAR_USE = declare(
    "circular-use",
    "files use each other in a circle",
    """
    If `a.opt` uses `b.opt`, then `b.opt` cannot use `a.opt`, neither directly nor through other
    files. Move what both need into a third file.
    """,
)
Decl = (
    syntax.RuleDecl
    | syntax.ExternDecl
    | syntax.ScheduleDecl
    | syntax.FuncDecl
    | syntax.OptimizerDecl
    | syntax.VariantDecl
)
OpenUse = Callable[[str, Source], Source]
"""Reads a used file: its path as written and the source that uses it. Raises OSError."""

MAX_FILES = 100
"""A spec may use this many files in all."""


@dataclass(frozen=True)
class Found:
    """A declaration and the names that hold in its file."""

    decl: Decl
    scope: "Declarations"


@dataclass(frozen=True)
class Declarations:
    """The names of one file, by kind of declaration; the library stands behind them.

    `broken` are the names of items that could not be parsed: a use of one is no new mistake.
    `modules` are those that the caller lets `extern` name, besides optax.
    """

    own: dict[tuple[str, str], Decl] = field(default_factory=dict)
    used: tuple["Declarations", ...] = ()
    broken: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()

    def find(self, kind: str, name: str) -> Found | None:
        """What `name` stands for among the declarations of one kind."""
        return self.first((kind,), name)

    def first(self, kinds: Sequence[str], name: str) -> Found | None:
        """What `name` stands for among some kinds, of which the first counts most.

        The file itself counts more than those that it uses, and all of them more than the library.
        """
        for scope in (self, *self.used):
            for kind in kinds:
                if decl := scope.own.get((kind, name)):
                    return Found(decl, scope)
        for kind in kinds:
            if file := library.file(kind, name):
                decl = next(i for i in file.items if isinstance(i, Decl))
                return Found(decl, Declarations())
        return None

    def names(self, kind: str) -> set[str]:
        """Every name of one kind that can be said here."""
        own = {name for scope in (self, *self.used) for k, name in scope.own if k == kind}
        return own | set(library.names(kind))

    def kinds_of(self, name: str) -> tuple[str, ...]:
        """The kinds of declaration that `name` stands for; parts of an optimizer come first."""
        kinds = sorted(library.SHELVES, key=lambda kind: kind == "optimizer")
        return tuple(kind for kind in kinds if self.find(kind, name))


def kind_of(decl: Decl) -> str:
    """The kind under which a declaration is found."""
    match decl:
        case syntax.RuleDecl() | syntax.ExternDecl():
            return decl.kind.id
        case syntax.ScheduleDecl():
            return "schedule"
        case syntax.FuncDecl():
            return "func"
        case syntax.OptimizerDecl() | syntax.VariantDecl():
            return "optimizer"


def gather(
    file: syntax.File,
    open_use: OpenUse,
    report: Diagnostics,
    modules: Iterable[str] = (),
) -> Declarations:
    """The names of `file`, reading the files that it uses; `modules` are open to `extern`."""
    return _Gatherer(open_use, report, frozenset(modules)).gather(file, ())


_HEAD = re.compile(r"\b(?:rule\s+\w+|schedule|func|optimizer|extern\s+\w+)\s+(\w+)")


class _Gatherer:
    def __init__(self, open_use: OpenUse, report: Diagnostics, modules: frozenset[str]) -> None:
        self._modules = modules
        self._open_use = open_use
        self._report = report
        self._files: dict[Source, Declarations] = {}

    def gather(self, file: syntax.File, chain: tuple[Source, ...]) -> Declarations:
        own: dict[tuple[str, str], Decl] = {}
        used: list[Declarations] = []
        for item in file.items:
            match item:
                case syntax.Use():
                    if (names := self._use(item, chain)) is not None:
                        used.append(names)
                case syntax.Edition():
                    pass
                case _:
                    self._declare(own, item)
        named = frozenset(_HEAD.findall(file.span.source.text))
        broken = named - {name for _, name in own}
        return Declarations(own, tuple(used), broken, self._modules)

    def _declare(self, own: dict[tuple[str, str], Decl], decl: Decl) -> None:
        first = own.setdefault((kind_of(decl), decl.name.id), decl)
        if first is not decl:
            is_rule = isinstance(decl, syntax.RuleDecl | syntax.ExternDecl)
            what = "rule" if is_rule else kind_of(decl)
            self._report.add(
                DUPLICATE_NAME.at(
                    decl.name.span,
                    f"the {what} `{decl.name.id}` is declared twice",
                    label="declared again",
                    others=(Label(first.name.span, "declared here"),),
                )
            )

    def _use(self, use: syntax.Use, chain: tuple[Source, ...]) -> Declarations | None:
        where = use.path.span
        try:
            source = self._open_use(use.path.value, where.source)
        except OSError as error:
            reason = error.strerror or str(error)
            self._report.add(
                USE_FAILED.at(
                    where, f'"{use.path.value}" cannot be read: {reason}', label="not read"
                )
            )
            return None
        chain = (*chain, where.source)
        if source in chain:
            names = [each.name for each in (*chain[chain.index(source) :], source)]
            circle = " -> ".join(names)
            self._report.add(CIRCULAR_USE.at(where, f"files use each other: {circle}"))
            return None
        if source not in self._files:
            if len(self._files) >= MAX_FILES:
                self._report.add(USE_FAILED.at(where, f"more than {MAX_FILES} files are used"))
                return None
            parsed = parse(source, self._report)
            self._files[source] = self.gather(parsed, chain)
        return self._files[source]
