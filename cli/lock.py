"""`optc lock` and `optc verify`: what a spec means and does, kept beside it, and checked."""

from pathlib import Path
from typing import Annotated

import typer

from ..compiler.graphs import lowered_graph
from ..compiler.locate import NotFoundError, read
from ..compiler.meaning.meaning import meaning
from . import settings
from .output import CommandError, deliver, note, plural
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
    from ..api import fingerprint  # JAX, which the hash does not need

    made = fingerprint.lock(located, defaults)
    if output is None:
        folder = Path(located.source.name).parent if _is_path(spec) else Path()
        output = str(folder / f"{made.optimizer}.opt.lock")
    deliver(output, made.text())
    left = "".join(f"; not {kind}, since {why}" for kind, why in made.left_out.items())
    kept = ", ".join(made.tracks)
    note(
        f"{made.optimizer}: {made.meaning.hash[:12]}, {plural(made.steps, 'step')} by {kept}{left}"
    )


def verify(
    specs: Annotated[
        list[str], typer.Argument(metavar="SPEC|LOCK...", help="Specs with a lock, or locks.")
    ],
    allow_extern: AllowExtern = None,
) -> None:
    """Check that specs mean and do what their locks say.

    The lock of a spec is NAME.opt.lock beside it, or for a name of the library in the current
    folder. A lock is checked against the spec beside it, or else the library's. The exit code is 1
    when a meaning has changed, or numbers by more than rounding explains.

    Example:
      optc verify mine.opt
      optc verify locks/*.lock
    """
    from ..api import fingerprint  # both ways of running need it
    from ..compiler.meaning.lock import read_lock

    wrong = 0
    for name in specs:
        spec, file = _pair(name)
        try:
            locked = read_lock(str(file), read(file))
        except NotFoundError as error:
            raise CommandError(str(error)) from None
        if spec is None:
            beside = file.parent / f"{locked.optimizer}.opt"
            spec = f"{beside}:{locked.optimizer}" if beside.exists() else locked.optimizer
        different, deviations = fingerprint.verify(locate(spec, allow_extern or ()), locked)
        if not different and not deviations:
            print(f"{name}: as locked, by {', '.join(locked.tracks)}")
            continue
        wrong += 1
        what = "the meaning has changed" if different else "the numbers have changed"
        print(f"{name}: {what}")
        for line in (*different, *map(str, deviations)):
            print(f"  {line}")
        for line in _versions(locked.versions, fingerprint.versions()):
            print(f"  {line}")
    raise typer.Exit(int(wrong > 0))


def _is_path(spec: str) -> bool:
    return ".opt" in spec or "/" in spec


def _pair(name: str) -> tuple[str | None, Path]:
    """The spec and the lock that an argument means; the spec of a lock is found later."""
    if name.endswith(".lock"):
        return None, Path(name)
    path, _, optimizer = name.rpartition(":") if ".opt:" in name else (name, "", "")
    if not _is_path(name):
        return name, Path(f"{name}.opt.lock")
    optimizer = optimizer or lowered_graph(locate(name))[0].name
    return name, Path(path).parent / f"{optimizer}.opt.lock"


def _versions(old: dict[str, str], new: dict[str, str]) -> list[str]:
    names = [name for name in new if old.get(name) != new[name]]
    if not names:
        return ["all versions are those that made the lock"]
    return [f"{name} was {old.get(name, 'not there')} and is {new[name]}" for name in names]
