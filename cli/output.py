"""Where words go: results to standard output, everything else to standard error, files whole."""

import os
import sys
import tempfile
from difflib import unified_diff
from pathlib import Path
from typing import TextIO

from ..grammar.diagnostic import OptcError


class CommandError(OptcError):
    """A command cannot go on; the message says why in one line. Exit code 1."""


def note(text: str) -> None:
    """Say something that is not the result: a summary, a warning, progress."""
    print(text, file=sys.stderr)


def wants_color(stream: TextIO) -> bool:
    """Whether a stream is a terminal of a person who did not refuse colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all; a symbolic link keeps pointing to its target."""
    path = path.resolve()
    if not path.parent.is_dir():
        raise CommandError(f"cannot write {path.name}: there is no folder {path.parent}")
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        part = Path(name)
        try:
            with open(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            part.chmod(mode)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def deliver(output: str, text: str) -> None:
    """Write a result where `-o` says: to a file, or to standard output for `-`."""
    if output == "-":
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        write(Path(output), text)


def print_diff(name: str, old: str, new: str, what: str) -> None:
    """Print what changes in a text; `what` says which of two names is the new text's."""
    lines = unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} ({what})"
    )
    for line in lines:
        # A last line without a line break would run into the next line of the diff.
        sys.stdout.write(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")


def plural(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
