"""The SPEC of a command line: a path, `path.opt:NAME`, or a name of the library."""

from typing import Annotated

import typer

from .located import locate

__all__ = ["AllowExtern", "locate"]

AllowExtern = Annotated[
    list[str] | None,
    typer.Option("--allow-extern", metavar="MODULE", help="A module that `extern` may name."),
]
"""The option of the commands that follow what a spec names."""
