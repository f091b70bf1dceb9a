"""Finding specs: files, names of the library, and the files that a spec uses.

This is the one place of the compiler that reads what a caller names. A spec may read, by `use`,
files in or below its own folder and nothing else, unless the caller allows more folders.
"""

import keyword
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..grammar.diagnostic import did_you_mean
from ..grammar.source import Source
from . import library
from .declarations import OpenUse

MAX_BYTES = 1 << 20
"""No more of a file than this, and one byte to tell that there is more, is ever read."""


class NotFoundError(Exception):
    """A spec that cannot be found or read; the message is one line for a person."""


@dataclass(frozen=True)
class Located:
    """A spec that was found: its text, the optimizer that is meant, the folder of its file.

    `allowed` are folders, besides `folder`, from which the spec may use files, and `modules` what
    `extern` may name besides optax.
    """

    source: Source
    name: str | None = None
    folder: Path | None = None
    allowed: tuple[Path, ...] = ()
    modules: tuple[str, ...] = ()


def find(spec: str) -> Located:
    """The spec of a path, `path.opt:NAME`, or a name of the library.

    Raises NotFoundError.
    """
    path, _, name = spec.rpartition(":") if ".opt:" in spec else (spec, "", "")
    if path.endswith(".opt") or "/" in path:
        file = Path(path)
        return Located(Source(path, read(file)), name or None, file.resolve().parent)
    entry = library.file("optimizer", spec)
    if entry is not None:
        return Located(entry.span.source, spec)
    help = did_you_mean(spec, library.names("optimizer"))
    message = f"`{spec}` is neither a file that ends in .opt nor an optimizer of the library"
    raise NotFoundError(f"{message}; {help}" if help else message)


def modules(names: Iterable[str]) -> tuple[str, ...]:
    """The modules that `extern` may name, by their full names.

    Raises TypeError for what is no list of texts, ValueError for a text that names no module.
    """
    if isinstance(names, str):
        raise TypeError(f"the modules that `extern` may name are a list: [{names!r}]")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"the name of a module is a text, not {name!r}")
        parts = name.split(".")
        if not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
            raise ValueError(f"{name!r} is not the name of a module")
    return found


def read(file: Path) -> str:
    """The text of a spec file. Raises NotFoundError where there is none that can be read."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"{file}: {reason.lower()}") from None
    # What is not UTF-8 becomes a replacement character, which the parser reports in its place;
    # the mark that some editors put first says nothing.
    return data.decode("utf-8-sig", errors="replace")


def open_use(located: Located) -> OpenUse:
    """How a spec's `use` reads files. One file is one source, however it is named."""
    folder = located.folder
    if folder is None:
        return _refuse
    root = (folder / Path(located.source.name).name).resolve()
    sources: dict[Path, Source] = {root: located.source}
    places: dict[Source, Path] = {located.source: root}
    roots = (folder.resolve(), *located.allowed)

    def open(path: str, user: Source) -> Source:
        if "\0" in path or not path.endswith(".opt"):
            raise PermissionError(0, "a used file ends in .opt")
        file = (places[user].parent / path).resolve()
        if not any(file.is_relative_to(root) for root in roots):
            raise PermissionError(0, "it lies outside the folder of the spec")
        if file not in sources:
            try:
                sources[file] = Source(_shown(file, roots[0], located.source.name), read(file))
            except NotFoundError as error:
                raise FileNotFoundError(0, str(error).rpartition(": ")[2]) from None
            places[sources[file]] = file
        return sources[file]

    return open


def _refuse(path: str, user: Source) -> Source:
    raise PermissionError(0, "a spec without a file cannot use files")


def _shown(file: Path, folder: Path, name: str) -> str:
    """A used file as messages call it: beside the first spec's own name."""
    beside = Path(name).parent
    return str(beside / file.relative_to(folder) if file.is_relative_to(folder) else file)
