"""Finding the SPEC of a command line. Without typer, whose import takes as long as a check."""

from collections.abc import Iterable
from dataclasses import replace

from ..compiler.locate import Located, NotFoundError, find, modules
from .output import CommandError


def locate(spec: str, allow_extern: Iterable[str] = ()) -> Located:
    """The spec that is meant; CommandError when there is none, or no such module."""
    try:
        return replace(find(spec), modules=modules(allow_extern))
    except (NotFoundError, ValueError) as error:
        raise CommandError(str(error)) from None
