"""`optc list` and `optc show`: what the library and files declare, from their own text."""

import shutil
import sys
from itertools import groupby
from typing import Annotated

import typer

from ..compiler import library
from ..compiler.declarations import Declarations, gather, kind_of
from ..compiler.library import Declared, Entry, entries
from ..compiler.locate import open_use
from ..compiler.resolve import resolve
from ..compiler.variants import whole
from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, SpecError, did_you_mean
from ..grammar.parse import parse
from .located import locate
from .output import CommandError, wants_color


def list_(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND...]", help="`optimizer`, `clip`, `schedule`, ...; or all."),
    ] = None,
) -> None:
    """List the library's optimizers, rules and schedules.

    Example:
      optc list
      optc list optimizer schedule
    """
    for kind in kinds or ():
        if kind not in library.SHELVES:
            help = did_you_mean(kind, library.SHELVES)
            known = f"the kinds are {', '.join(library.SHELVES)}"
            raise CommandError(f"the library has no kind `{kind}`; {help or known}")
    # A terminal gets a line for each entry; a file or a pipe gets all of it.
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for kind, group in groupby(entries(), key=lambda entry: entry.kind):
        if kinds and kind not in kinds:
            continue
        shown = list(group)
        width = max(len(entry.name) for entry in shown)
        print(_bold(kind))
        for entry in shown:
            print(_cut(f"  {entry.name:<{width}}  {entry.summary}".rstrip(), room))
        print()


def _cut(line: str, room: int | None) -> str:
    return line if room is None or len(line) <= room else f"{line[: room - 3].rstrip()}..."


def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name of the library, or FILE.opt[:NAME].")
    ],
) -> None:
    """Show an entry of the library, or what a file declares.

    That is its documentation with its source, its parameters and its definition; of a variant
    also the stages that come of it.

    Example:
      optc show functional_sam
      optc show own.opt:careful
    """
    if name.endswith(".opt") or ".opt:" in name:
        print("\n\n".join(_pages_of_file(name)))
        return
    found = [entry for entry in entries() if entry.name == name]
    if not found:
        raise CommandError(_unknown("the library", name, {entry.name for entry in entries()}))
    print("\n\n".join(_page(entry) + _of_library(entry) for entry in found))


def _of_library(entry: Entry) -> str:
    """What comes of an entry that is a variant; nothing for others."""
    file = library.file(entry.kind, entry.name)
    assert file is not None
    variants = (item for item in file.items if isinstance(item, syntax.VariantDecl))
    return "".join(_written_out(item, Declarations(), Diagnostics())[1] for item in variants)


def _pages_of_file(spec: str) -> list[str]:
    """The page of each declaration of a file, or of those of one name. Raises SpecError."""
    located = locate(spec)
    report = Diagnostics()
    file = parse(located.source, report)
    scope = gather(file, open_use(located), report)
    items = [item for item in file.items if not isinstance(item, syntax.Edition | syntax.Use)]
    named = [item for item in items if located.name in (None, item.name.id)]
    pages = [_declared(item, scope, report) for item in named]
    if report.has_errors:
        raise SpecError(report.sorted())
    if not pages:
        names = {item.name.id for item in items}
        raise CommandError(_unknown(located.source.name, located.name or "", names))
    return pages


def _declared(item: Declared, scope: Declarations, report: Diagnostics) -> str:
    if not isinstance(item, syntax.VariantDecl):
        return _page(library.entry(kind_of(item), item, item.params))
    params, stages = _written_out(item, scope, report)
    return _page(library.entry(kind_of(item), item, params)) + stages


def _written_out(
    item: syntax.VariantDecl, scope: Declarations, report: Diagnostics
) -> tuple[tuple[syntax.Param, ...], str]:
    """The parameters of a variant, and its stages as the last part of its page."""
    found = whole(item, scope, report)
    if found is None:
        return item.params, ""
    spec = resolve(found.decl, found.scopes, report)
    stages = "\n".join(stage.shown(spec.file) for stage in spec.stages)
    return found.decl.params, f"\n\n{_bold('Written out')}\n{_indented(stages)}"


def _unknown(place: str, name: str, known: set[str]) -> str:
    help = did_you_mean(name, known)
    return f"{place} has no `{name}`" + (f"; {help}" if help else "")


def _page(entry: Entry) -> str:
    parts = [_bold(f"{entry.kind} {entry.name}")]
    if entry.doc:
        parts.append(_indented(entry.doc))
    if entry.params:
        parts.append(_bold("Parameters") + "\n" + _indented(_table(entry)))
    parts.append(_bold("Definition") + "\n" + _indented(entry.definition))
    return "\n\n".join(parts)


def _table(entry: Entry) -> str:
    rows = [
        (name, f"= {default}" if default else "required", bounds)
        for name, default, bounds in entry.params
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if wants_color(sys.stdout) else text
