"""`optc diff`: what changed between two specs, for a review. Imports no JAX."""

import sys
from collections.abc import Sequence
from difflib import unified_diff
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..compiler.budget.trees import find
from ..compiler.locate import Located, NotFoundError, read
from ..compiler.review.between import reviews
from ..compiler.review.records import Review
from ..compiler.review.tables import as_json
from ..compiler.review.text import joined, markdown, text
from ..grammar.diagnostic import SpecError
from ..grammar.render import summary
from ..grammar.source import Source
from .output import CommandError, wants_color
from .plan import read_folder
from .spec import AllowExtern, locate


class Format(Enum):
    """How a review is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def diff(
    specs: Annotated[
        list[str], typer.Argument(metavar="A B", help="The optimizer as it was, and as it is.")
    ],
    format: Annotated[Format, typer.Option(help="How to write the review.")] = Format.TEXT,
    params: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", help="Weights, as `optc plan` takes them: gpt2-124m."),
    ] = None,
    git: Annotated[
        bool, typer.Option("--git", help="Take the arguments of git's diff drivers.")
    ] = False,
    allow_extern: AllowExtern = None,
) -> None:
    """Show what changed from one optimizer to another.

    Layout and comments are no changes. Two files are compared optimizer by optimizer. The exit
    code is 0 when nothing changed, and 1 when something did.

    Example:
      optc diff adam nadam
      optc diff before.opt after.opt --format markdown
      optc diff before.opt after.opt --params gpt2-124m
      git config diff.opt.command "optc diff --git"
    """
    modules = tuple(allow_extern or ())
    if git:
        print(_for_git(specs, modules))
        return
    if len(specs) != 2:
        raise typer.BadParameter("it compares two optimizers", param_hint="'A B'")
    before, after = (locate(spec, modules) for spec in specs)
    tree = None if params is None else find(params, read_folder)
    found = reviews(before, after, tree)
    if output := _written(found, format):
        print(output)
    raise typer.Exit(int(any(found)))


def _written(found: list[Review], format: Format) -> str:
    match format:
        case Format.TEXT:
            color = wants_color(sys.stdout)
            return joined(text(each, color=color) for each in found)
        case Format.MARKDOWN:
            return joined(map(markdown, found))
        case Format.JSON:
            return as_json(found)


# ---- as a diff driver of git


def _for_git(arguments: Sequence[str], modules: tuple[str, ...]) -> str:
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
        lines = "\n".join(
            unified_diff(
                before.source.text.splitlines(),
                after.source.text.splitlines(),
                path,
                now,
                lineterm="",
            )
        )
        return f"{title}: {summary(error.diagnostics)}, so these are its lines\n\n{lines}\n"
    return f"{title}\n\n{found}\n" if found else f"{title}: what it says is unchanged\n"


def _version(path: str, file: str, modules: tuple[str, ...]) -> Located:
    """A version of the file at `path`, which git has put into `file`.

    Files that it uses are read where `path` is, so as they are now.
    """
    try:
        content = "" if file == "/dev/null" else read(Path(file))
    except NotFoundError as error:
        raise CommandError(str(error)) from None
    return Located(Source(path, content), None, Path(path).resolve().parent, modules=modules)
