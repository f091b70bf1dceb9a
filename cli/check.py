"""`optc check`: every diagnostic of every file. Imports no JAX."""

from enum import Enum
from typing import Annotated

import typer

from .findings import report_on
from .spec import AllowExtern


class Format(Enum):
    """How diagnostics are written."""

    TEXT = "text"
    JSON = "json"


def check(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="What to check.")],
    format: Annotated[Format, typer.Option(help="How to write the findings.")] = Format.TEXT,
    allow_extern: AllowExtern = None,
) -> None:
    """Report every mistake of every spec.

    Findings go to standard output; the exit code is 1 when one of them is an error.

    Example:
      optc check adamw.opt
      optc check specs/*.opt --format json
    """
    as_json = format is Format.JSON
    raise typer.Exit(report_on(specs, as_json=as_json, allow_extern=allow_extern or ()))
