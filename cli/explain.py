"""`optc explain`: what an optimizer does as an algorithm box, or what a diagnostic means."""

from typing import Annotated

import typer

from . import settings
from .boxes import Format, report_on
from .passes import NoPass, left_out
from .spec import AllowExtern


def explain(
    what: Annotated[
        str, typer.Argument(metavar="SPEC|CODE", help="An optimizer, or the name in error[...].")
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is standard output.")
    ] = "-",
    format: Annotated[Format, typer.Option(help="How to write the box.")] = Format.TEXT,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter's new default."),
    ] = None,
    executed: Annotated[
        bool, typer.Option("--executed", help="Show the graph after all passes.")
    ] = False,
    no_pass: NoPass = None,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="LaTeX as a whole document.")
    ] = False,
    allow_extern: AllowExtern = None,
) -> None:
    """Show an optimizer as an algorithm box, or say what a diagnostic means.

    The box is made from the graph that is compiled: what each line of the spec does, in the order
    in which it happens. The LaTeX needs amsmath and amssymb.

    Example:
      optc explain adamw
      optc explain own.opt --format latex --standalone -o own.tex
      optc explain unknown-rule
    """
    defaults, without = settings.parse(set_ or []), left_out(no_pass)
    if without and not executed:
        message = "only what is --executed has been through the passes"
        raise typer.BadParameter(message, param_hint="'--no-pass'")
    modules = allow_extern or ()
    raise typer.Exit(
        report_on(what, output, format, defaults, executed, standalone, modules, without)
    )
