"""The module of a spec: compiled, or as it was kept when the same spec was compiled before.

What decides the text of a module is the text of the spec and of the files that it uses, the
caller's settings, and the compiler with its library. Used files are known only once a spec is
parsed; so what is kept says which they were, and holds where they still have the same text, read
as the spec may read them.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

from ..compiler.locate import Located, open_use
from ..compiler.records import Scalar
from ..grammar.diagnostic import Diagnostics
from ..grammar.parse import parse
from ..grammar.source import Source
from ..grammar.syntax import Use
from .store import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Module:
    """The text of a module, and the name of its optimizer."""

    name: str
    source: str


_Uses: TypeAlias = list[tuple[str, int, str]]
"""The files that a spec uses: for each its path as written, which of the sources so far says it
(0 is the spec), and a digest of its text."""


def module_of(
    located: Located,
    settings: Mapping[str, Scalar] | None = None,
    observe: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    store: Store | None = None,
) -> Module:
    """The module of a spec, taken from a store where it has it, and kept there where not.

    The others are those of the compiler. Raises SpecError and UnknownPassError as that does.
    """
    if store is None:
        return _compiled(located, settings, observe, without)
    key = _key(located, settings, observe, without)
    kept = _read(store.read(key), located)
    if kept is not None:
        return kept
    before = _used(located)
    module = _compiled(located, settings, observe, without)
    # A file that was changed meanwhile may have been read before or after.
    if before is not None and before == _used(located):
        text = json.dumps({"name": module.name, "source": module.source, "uses": before})
        store.write(key, text.encode())
    return module


def _compiled(
    located: Located,
    settings: Mapping[str, Scalar] | None,
    observe: Mapping[str, str] | None,
    without: Collection[str],
) -> Module:
    from ..compiler.driver import compile_spec  # a third of a start, which a kept module spares

    compiled = compile_spec(located, settings, observe, without)
    return Module(compiled.name, compiled.source)


def _read(data: bytes | None, located: Located) -> Module | None:
    """A module that was kept, if the files that its spec used are as they were."""
    try:
        kept = None if data is None else json.loads(data)
        if kept is None or not _unchanged(kept["uses"], located):
            return None
        return Module(kept["name"], kept["source"])
    except (ValueError, LookupError, TypeError) as error:
        _log.debug("passed over, since it cannot be read: %s", error)
        return None


def _used(located: Located) -> _Uses | None:
    """The files that a spec uses, directly and through others; None where one cannot be read."""
    opened = open_use(located)
    sources, uses = [located.source], _Uses()
    for by, source in enumerate(sources):  # which grows meanwhile
        for item in parse(source, Diagnostics()).items:
            if not isinstance(item, Use):
                continue
            try:
                found = opened(item.path.value, source)
            except OSError:
                return None
            uses.append((item.path.value, by, _digest(found)))
            if found not in sources:
                sources.append(found)
    return uses


def _unchanged(uses: _Uses, located: Located) -> bool:
    """Whether all files that a spec used may still be read and are what they were."""
    opened, sources = open_use(located), [located.source]
    for path, by, digest in uses:
        try:
            found = opened(path, sources[by])
        except OSError:
            return False
        if _digest(found) != digest:
            return False
        if found not in sources:
            sources.append(found)
    return True


def _digest(source: Source) -> str:
    return hashlib.sha256(repr((source.name, source.text)).encode()).hexdigest()


def _key(
    located: Located,
    settings: Mapping[str, Scalar] | None,
    observe: Mapping[str, str] | None,
    without: Collection[str],
) -> str:
    """A key of all that decides a module's text but for the files that its spec uses."""
    spec = (located.name, str(located.folder), located.allowed, located.modules)
    options = (sorted((settings or {}).items()), sorted((observe or {}).items()), sorted(without))
    parts = (_compiler(), _digest(located.source), spec, options)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def _compiler() -> tuple[object, ...]:
    """The compiler and its library, known as Python knows its own files: by size and time."""
    root = Path(__file__).parent.parent
    rows = [row for folder in ("grammar", "compiler", "specs") for row in _files(root / folder)]
    return (metadata.version("optc"), sys.version, *sorted(rows))


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir():
                yield from _files(Path(entry.path))
            elif entry.name.endswith((".py", ".opt", ".lark")):
                facts = entry.stat()
                yield entry.path, facts.st_size, facts.st_mtime_ns
