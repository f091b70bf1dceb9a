"""`optc explain`: what an optimizer does as an algorithm box, or what a diagnostic means."""

import sys
from collections.abc import Mapping
from enum import Enum
from typing import Annotated

import typer

from ..compiler import chain, library, schedules  # noqa: F401  # they declare every rule
from ..compiler.graphs import lowered_graph, optimised, simplified
from ..compiler.locate import Located
from ..compiler.notation.build import build
from ..compiler.notation.html import html
from ..compiler.notation.latex import latex
from ..compiler.notation.markdown import markdown
from ..compiler.notation.text import text
from ..compiler.records import Scalar
from ..grammar.diagnostic import RULES, Rule, did_you_mean
from ..grammar.render import render_text
from . import settings
from .output import CommandError, deliver, note, wants_color
from .spec import AllowExtern, locate


class Format(Enum):
    """How a box is written."""

    TEXT = "text"
    LATEX = "latex"
    MARKDOWN = "markdown"
    HTML = "html"


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
    if what in RULES:
        deliver(output, _meaning(RULES[what]))
        return
    _refuse_neither(what)
    located = locate(what, allow_extern or ())
    deliver(output, _box(located, format, settings.parse(set_ or []), executed, standalone))


def _meaning(rule: Rule) -> str:
    return f"{rule.severity.value}[{rule.code}]: {rule.summary}\n\n{rule.explanation}"


def _refuse_neither(what: str) -> None:
    """Ends the command for what is no code, no file and no optimizer."""
    optimizers = library.names("optimizer")
    if what in optimizers or what.endswith(".opt") or ".opt:" in what or "/" in what:
        return
    help = did_you_mean(what, [*RULES, *optimizers])
    message = f"`{what}` is neither a diagnostic, a file that ends in .opt nor an optimizer"
    raise CommandError(f"{message} of the library" + (f"; {help}" if help else ""))


def _box(
    located: Located,
    format: Format,
    defaults: Mapping[str, Scalar],
    executed: bool,
    standalone: bool,
) -> str:
    lowered, warnings = lowered_graph(located, defaults)
    if warnings:
        note(render_text(warnings, color=wants_color(sys.stderr)))
    box = build(optimised(lowered) if executed else simplified(lowered))
    match format:
        case Format.TEXT:
            return text(box)
        case Format.LATEX:
            return latex(box, standalone=standalone)
        case Format.MARKDOWN:
            return markdown(box)
        case Format.HTML:
            return html(box)
