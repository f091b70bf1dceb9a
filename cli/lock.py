"""`optc lock` and `optc verify`: what a spec means and does, kept beside it, and checked."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..compiler.graphs import lowered_graph
from ..compiler.meaning.meaning import meaning
from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, OptcError, SpecError
from ..grammar.parse import parse
from ..grammar.render import render_text
from . import settings
from .output import deliver, note, plural, wants_color
from .spec import AllowExtern, locate


def lock(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="The optimizer.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to; - is standard output."),
    ] = None,
    hash: Annotated[
        bool, typer.Option("--hash", help="Print the hash of the meaning, and write nothing.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter's new default."),
    ] = None,
    allow_extern: AllowExtern = None,
) -> None:
    """Write what a spec means, and what its program does on a fixed tape, into a lock file.

    Without -o the file is NAME.opt.lock beside the spec; for a name of the library it is in the
    current folder.

    Example:
      optc lock mine.opt
      optc lock adamw -o - --set lr=3e-4
      optc lock mine.opt --hash
    """
    defaults = settings.parse(set_ or [])
    located = locate(spec, allow_extern or ())
    if hash:
        graph, _ = lowered_graph(located, defaults)
        print(meaning(graph).hash)
        return
    from ..api import locks  # JAX, which the hash does not need

    folder = Path() if located.folder is None else Path(located.source.name).parent
    if output is not None:
        folder = Path() if output == "-" else Path(output).parent
    made = locks.lock(spec, defaults=defaults, allow_extern=allow_extern or (), folder=folder)
    deliver(output or str(folder / f"{made.optimizer}.opt.lock"), made.text())
    kept = ", ".join(made.tracks)
    note(f"{made.optimizer}: {made.meaning.hash[:12]}, {plural(made.steps, 'step')} by {kept}")
    for kind, why in made.left_out.items():
        note(f"  not by {kind}: {why}")
    for kind, ends in made.ends().items():
        for name, steps in ends.items():
            note(f"  {kind}: rounding decides about `{name}` from step {steps + 1} on")


def verify(
    specs: Annotated[
        list[str], typer.Argument(metavar="SPEC|LOCK...", help="Specs with a lock, or locks.")
    ],
    allow_extern: AllowExtern = None,
) -> None:
    """Check that specs mean and do what their locks say.

    The lock of a spec is NAME.opt.lock beside it, or for a name of the library in the current
    folder; of a file with several optimizers all locks beside it are checked. A lock is checked
    against the spec that it was made of. The exit code is 1 when a meaning has changed, or numbers
    by more than rounding explains, or something cannot be checked.

    Example:
      optc verify mine.opt
      optc verify locks/*.lock
    """
    from ..api import locks  # both ways of running need it

    fine = True
    for name in specs:
        try:
            for spec, file in _pairs(name):
                found = locks.verify(file, spec=spec, allow_extern=allow_extern or ())
                print(f"{spec or name}: {found}")
                fine = fine and bool(found)
        except SpecError as error:
            note(render_text(error.diagnostics, color=wants_color(sys.stderr)))
            note(f"{name}: the spec has errors")
            fine = False
        except (OptcError, FileNotFoundError) as error:
            note(f"error: {error}")
            fine = False
    raise typer.Exit(int(not fine))


def _pairs(name: str) -> list[tuple[str | None, Path]]:
    """The specs and locks that an argument means; the spec of a lock is found in it."""
    if name.endswith(".lock"):
        return [(None, Path(name))]
    located = locate(name)
    if located.folder is None:
        return [(name, Path(f"{name}.opt.lock"))]
    folder = Path(located.source.name).parent
    if located.name is not None:
        return [(name, folder / f"{located.name}.opt.lock")]
    items = parse(located.source, Diagnostics()).items
    optimizers = (i for i in items if isinstance(i, syntax.OptimizerDecl | syntax.VariantDecl))
    names = [each.name.id for each in optimizers]
    if not names:
        lowered_graph(located)  # which says what is wrong with it
    locks = [folder / f"{each}.opt.lock" for each in names]
    if len(names) == 1:
        return [(name, locks[0])]
    pairs: list[tuple[str | None, Path]] = [
        (f"{name}:{each}", lock) for each, lock in zip(names, locks, strict=True)
    ]
    return [pair for pair in pairs if pair[1].exists()] or pairs[-1:]
