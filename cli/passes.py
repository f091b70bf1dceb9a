"""`--no-pass NAME`: passes of the compiler that are left out."""

from collections.abc import Iterable
from typing import Annotated

import typer

from ..compiler.passes.contracts import UnknownPassError, known

NoPass = Annotated[
    list[str] | None,
    typer.Option("--no-pass", metavar="NAME", help="A pass of the compiler to leave out."),
]
"""The option of the commands that look at what is executed."""


def left_out(names: Iterable[str] | None) -> frozenset[str]:
    """The passes that `--no-pass` names; a name that no pass has is a usage error."""
    try:
        return known(names or ())
    except UnknownPassError as error:
        raise typer.BadParameter(str(error), param_hint="'--no-pass'") from None
