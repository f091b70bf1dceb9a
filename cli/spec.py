"""The SPEC of a command line: a path, `path.opt:NAME`, or a name of the library."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

import typer

from ..compiler.locate import Located, NotFoundError, find, modules
from .output import CommandError

AllowExtern = Annotated[
    list[str] | None,
    typer.Option("--allow-extern", metavar="MODULE", help="A module that `extern` may name."),
]
"""The option of the commands that follow what a spec names."""


def locate(spec: str, allow_extern: Iterable[str] = ()) -> Located:
    """The spec that is meant; CommandError when there is none, or no such module."""
    try:
        return replace(find(spec), modules=modules(allow_extern))
    except (NotFoundError, ValueError) as error:
        raise CommandError(str(error)) from None
