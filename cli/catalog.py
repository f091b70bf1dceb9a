"""`optc list` and `optc show`: the spec library, read from its own text."""

import sys
from itertools import groupby
from typing import Annotated

import typer

from ..compiler.library import Entry, entries
from ..grammar.diagnostic import did_you_mean
from .output import CommandError, wants_color


def list_() -> None:
    """List the library's optimizers, rules and schedules.

    Example:
      optc list
    """
    found = entries()
    width = max((len(entry.name) for entry in found), default=0)
    for kind, group in groupby(found, key=lambda entry: entry.kind):
        print(_bold(kind))
        for entry in group:
            print(f"  {entry.name:<{width}}  {entry.summary}".rstrip())
        print()


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `optc list` shows.")],
) -> None:
    """Show the formula, parameters and source of a library entry.

    Example:
      optc show functional_sam
    """
    library = entries()
    found = [entry for entry in library if entry.name == name]
    if not found:
        help = did_you_mean(name, {entry.name for entry in library})
        raise CommandError(f"the library has no `{name}`" + (f"; {help}" if help else ""))
    print("\n\n".join(_page(entry) for entry in found))


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
