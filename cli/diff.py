"""`optc diff`: what changed between two specs, for a review. Imports no JAX."""

from enum import Enum
from typing import Annotated

import typer

from ..compiler.review.between import reviews
from ..compiler.review.records import Review
from ..compiler.review.tables import as_json
from ..compiler.review.text import joined, markdown, text
from .spec import AllowExtern, locate


class Format(Enum):
    """How a review is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="The optimizer as it was.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The optimizer as it is.")],
    format: Annotated[Format, typer.Option(help="How to write the review.")] = Format.TEXT,
    allow_extern: AllowExtern = None,
) -> None:
    """Show what changed from one optimizer to another.

    Layout and comments are no changes. Two files are compared optimizer by optimizer. The exit
    code is 0 when nothing changed, and 1 when something did.

    Example:
      optc diff adam nadam
      optc diff before.opt after.opt --format markdown
    """
    modules = allow_extern or ()
    found = reviews(locate(before, modules), locate(after, modules))
    if output := _written(found, format):
        print(output)
    raise typer.Exit(int(any(found)))


def _written(found: list[Review], format: Format) -> str:
    match format:
        case Format.TEXT:
            return joined(map(text, found))
        case Format.MARKDOWN:
            return joined(map(markdown, found))
        case Format.JSON:
            return as_json(found)
