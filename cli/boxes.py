"""What `optc explain` says: an optimizer as an algorithm box, or what a diagnostic means."""

import sys
from collections.abc import Collection, Mapping, Sequence
from enum import Enum

from ..compiler import library
from ..compiler.graphs import lowered_graph, optimised, simplified
from ..compiler.locate import Located
from ..compiler.notation.build import build
from ..compiler.records import Scalar
from ..grammar.diagnostic import RULES, Rule, did_you_mean
from ..grammar.render import render_text
from .located import locate
from .output import CommandError, deliver, note, wants_color


class Format(Enum):
    """How a box is written."""

    TEXT = "text"
    LATEX = "latex"
    MARKDOWN = "markdown"
    HTML = "html"


def report_on(
    what: str,
    output: str = "-",
    format: Format = Format.TEXT,
    defaults: Mapping[str, Scalar] | None = None,
    executed: bool = False,
    standalone: bool = False,
    modules: Sequence[str] = (),
    without: Collection[str] = (),
) -> int:
    """Write the box of a spec, or the explanation of a code, to `output`; the exit code."""
    if _is_spec(what):
        box = _box(locate(what, modules), format, defaults or {}, executed, standalone, without)
        deliver(output, box)
    else:
        deliver(output, _meaning(_rule(what)))
    return 0


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
    without: Collection[str],
) -> str:
    lowered, warnings = lowered_graph(located, defaults)
    if warnings:
        note(render_text(warnings, color=wants_color(sys.stderr)))
    box = build(optimised(lowered, without) if executed else simplified(lowered))
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
