"""`optc explain`: what an optimizer does as an algorithm box, or what a diagnostic means."""

import sys
from collections.abc import Mapping
from enum import Enum
from typing import Annotated

import typer

from ..compiler import library
from ..compiler.graphs import lowered_graph, optimised, simplified
from ..compiler.locate import Located
from ..compiler.notation.build import build
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
    if not _is_spec(what):
        deliver(output, _meaning(_rule(what)))
        return
    located = locate(what, allow_extern or ())
    deliver(output, _box(located, format, settings.parse(set_ or []), executed, standalone))


def _meaning(rule: Rule) -> str:
    return f"{rule.severity.value}[{rule.code}]: {rule.summary}\n\n{rule.explanation}"


def _is_spec(what: str) -> bool:
    """Whether an argument is a file or an optimizer, none of which is called as a code is."""
    is_file = what.endswith(".opt") or ".opt:" in what or "/" in what
    return is_file or what in library.names("optimizer")


def _rule(what: str) -> Rule:
    """The kind of diagnostic that has a code; ends the command for what is no code."""
    from ..compiler import chain, schedules  # noqa: F401  # the last that declare any

    if what in RULES:
        return RULES[what]
    help = did_you_mean(what, [*RULES, *library.names("optimizer")])
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
    match format:  # each is imported for those who ask for it
        case Format.TEXT:
            from ..compiler.notation.text import text

            return text(box)
        case Format.LATEX:
            from ..compiler.notation.latex import latex

            return latex(box, standalone=standalone)
        case Format.MARKDOWN:
            from ..compiler.notation.markdown import markdown

            return markdown(box)
        case Format.HTML:
            from ..compiler.notation.html import html

            return html(box)
