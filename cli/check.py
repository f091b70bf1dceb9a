"""`optc check`: every diagnostic of every file. Imports no JAX."""

import sys
from enum import Enum
from typing import Annotated

import typer

from ..compiler.check import check as check_spec
from ..grammar.diagnostic import Diagnostic, Severity
from ..grammar.render import render_json, render_text, summary
from .output import CommandError, note, plural, wants_color
from .spec import locate


class Format(Enum):
    """How diagnostics are written."""

    TEXT = "text"
    JSON = "json"


def check(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="What to check.")],
    format: Annotated[Format, typer.Option(help="How to write the findings.")] = Format.TEXT,
) -> None:
    """Report every mistake of every spec.

    Findings go to standard output; the exit code is 1 when one of them is an error.

    Example:
      optc check adamw.opt
      optc check specs/*.opt --format json
    """
    found: list[Diagnostic] = []
    missing = 0
    for spec in specs:
        try:
            found += check_spec(locate(spec)).sorted()
        except CommandError as error:
            note(f"error: {error}")
            missing += 1
    if format is Format.JSON:
        print(render_json(found))
    elif found:
        print(render_text(found, color=wants_color(sys.stdout)))
    if checked := len(specs) - missing:
        note(f"{plural(checked, 'spec')} checked: {summary(found) or 'nothing to report'}")
    if missing or any(each.severity is Severity.ERROR for each in found):
        raise typer.Exit(1)
