"""`optc diff`: what changed between two specs, for a review. Imports no JAX."""

from typing import Annotated

import typer

from ..compiler.budget.tensors import Tree
from .changes import Format, for_git, report_on
from .spec import AllowExtern


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
    modules = allow_extern or ()
    if git:
        print(for_git(specs, modules))
        return
    match specs:
        case [before, after]:
            tree = None if params is None else _tree(params)
            raise typer.Exit(report_on(before, after, format, tree, modules))
        case _:
            raise typer.BadParameter("it compares two optimizers", param_hint="'A B'")


def _tree(params: str) -> Tree:
    from ..compiler.budget.trees import find  # only those who have weights pay for it
    from .plan import read_folder

    return find(params, read_folder)
