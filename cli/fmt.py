"""`optc fmt`: canonical layout of spec files, comments kept. Imports no JAX."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..grammar.diagnostic import Diagnostics, SpecError
from ..grammar.format import format as layout
from ..grammar.parse import parse
from ..grammar.render import render_text
from ..grammar.source import Source
from .output import CommandError, note, plural, print_diff, wants_color, write


@dataclass(frozen=True)
class _Formatted:
    """A file's name with its text before and after."""

    name: str
    old: str
    new: str


def fmt(
    specs: Annotated[
        list[str], typer.Argument(metavar="SPEC...", help="Files to format; - is standard input.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a file would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; print what would change.")
    ] = False,
) -> None:
    """Bring spec files into the canonical layout, comments kept.

    Formatting twice changes nothing more. A file with a syntax error is left as it is.

    Example:
      optc fmt adamw.opt
      optc fmt specs/*.opt --check --diff
    """
    changed = failed = 0
    for spec in specs:
        try:
            file = _formatted(spec)
        except SpecError as error:
            note(render_text(error.diagnostics, color=wants_color(sys.stderr)))
            failed += 1
            continue
        except CommandError as error:
            note(f"error: {error}")
            failed += 1
            continue
        changed += file.new != file.old
        if diff:
            print_diff(file.name, file.old, file.new, "formatted")
        if check:
            if file.new != file.old:
                note(f"would reformat {file.name}")
        elif not diff:
            _store(spec, file)
    note(_verdict(changed, len(specs) - changed - failed, failed, would=check or diff))
    if failed or (check and changed):
        raise typer.Exit(1)


def _formatted(spec: str) -> _Formatted:
    name, old = _read(spec)
    report = Diagnostics()
    tree = parse(Source(name, old), report)
    if report.has_errors:
        raise SpecError(report.sorted())
    return _Formatted(name, old, layout(tree))


def _read(spec: str) -> tuple[str, str]:
    try:
        if spec == "-":
            return "<stdin>", sys.stdin.read()
        return spec, Path(spec).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {spec}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"cannot read {spec}: it is not UTF-8 text") from error


def _store(spec: str, file: _Formatted) -> None:
    if spec == "-":
        sys.stdout.write(file.new)
    elif file.new != file.old:
        write(Path(spec), file.new)


def _verdict(changed: int, kept: int, failed: int, *, would: bool) -> str:
    verb = "would be reformatted" if would else "reformatted"
    parts = [f"{plural(changed, 'file')} {verb}" if changed else ""]
    parts += [f"{plural(kept, 'file')} already formatted" if kept else ""]
    parts += [f"{plural(failed, 'file')} not formatted" if failed else ""]
    return ", ".join(part for part in parts if part)
