"""What `optc diff` says: a review of two specs, also as a diff driver of git."""

import sys
from collections.abc import Sequence
from difflib import unified_diff
from enum import Enum
from pathlib import Path

from ..compiler.budget.tensors import Tree
from ..compiler.locate import Located, NotFoundError, read
from ..compiler.review.between import reviews
from ..compiler.review.records import Review
from ..compiler.review.tables import as_json
from ..compiler.review.text import joined, markdown, text
from ..grammar.diagnostic import SpecError
from ..grammar.render import summary
from ..grammar.source import Source
from .located import locate
from .output import CommandError, wants_color


class Format(Enum):
    """How a review is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def report_on(
    before: str,
    after: str,
    format: Format = Format.TEXT,
    tree: Tree | None = None,
    modules: Sequence[str] = (),
) -> int:
    """Write what changed from one spec to another to standard output; the exit code."""
    found = reviews(locate(before, modules), locate(after, modules), tree)
    if output := _written(found, format):
        print(output)
    return int(any(found))


def _written(found: Sequence[Review], format: Format) -> str:
    match format:
        case Format.TEXT:
            color = wants_color(sys.stdout)
            return joined(text(each, color=color) for each in found)
        case Format.MARKDOWN:
            return joined(map(markdown, found))
        case Format.JSON:
            return as_json(found)


# ---- as a diff driver of git


def for_git(arguments: Sequence[str], modules: Sequence[str] = ()) -> str:
    """The review of a file in two versions, by the arguments that git gives a driver.

    They are `path old-file old-hex old-mode new-file new-hex new-mode`, and two more after a
    renaming; a file that is not merged is a path alone. A version with mistakes has no review, so
    that lines are compared.
    """
    match arguments:
        case [path]:
            return f"{path}: not merged"
        case [path, old, _, _, new, _, _]:
            now = path
        case [path, old, _, _, new, _, _, now, _]:
            pass
        case _:
            raise CommandError("`--git` is for git, which gives 7 or 9 arguments")
    before, after = _version(path, old, modules), _version(now, new, modules)
    title = path if path == now else f"{path} -> {now}"
    try:
        found = _written(reviews(before, after), Format.TEXT)
    except SpecError as error:
        said = f"{title}: {summary(error.diagnostics)}, so these are its lines"
        return f"{said}\n\n{_lines(before.source, after.source)}\n"
    return f"{title}\n\n{found}\n" if found else f"{title}: what it says is unchanged\n"


def _lines(before: Source, after: Source) -> str:
    old, new = before.text.splitlines(), after.text.splitlines()
    return "\n".join(unified_diff(old, new, before.name, after.name, lineterm=""))


def _version(path: str, file: str, modules: Sequence[str]) -> Located:
    """A version of the file at `path`, which git has put into `file`.

    Files that it uses are read where `path` is, so as they are now.
    """
    try:
        content = "" if file == "/dev/null" else read(Path(file))
    except NotFoundError as error:
        raise CommandError(str(error)) from None
    folder = Path(path).resolve().parent
    return Located(Source(path, content), None, folder, modules=tuple(modules))
