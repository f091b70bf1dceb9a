"""The SPEC of a command line: a path, `path.opt:NAME`, or a name of the library."""

from ..compiler.locate import Located, NotFoundError, find
from .output import CommandError


def locate(spec: str) -> Located:
    """The spec that is meant; CommandError when there is none."""
    try:
        return find(spec)
    except NotFoundError as error:
        raise CommandError(str(error)) from None
