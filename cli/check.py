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
    fix: Annotated[
        bool, typer.Option("--fix", help="Put right what can only be meant in one way.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; print what --fix would change.")
    ] = False,
    allow_extern: AllowExtern = None,
) -> None:
    """Report every mistake of every spec, and put right those that are safe to put right.

    Findings go to standard output; the exit code is 1 when one of them is an error. After --fix
    they are those that are left. A comment `# allow: CODE` silences a warning on its line.

    Example:
      optc check adamw.opt
      optc check specs/*.opt --format json
      optc check own.opt --fix
    """
    code = report_on(
        specs,
        as_json=format is Format.JSON,
        allow_extern=allow_extern or (),
        fix=fix,
        diff=diff,
    )
    raise typer.Exit(code)
