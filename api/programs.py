"""Loading specs as programs: compile to a module's text, then run that text.

There is one path: what `optc compile` writes is what `load` executes.
"""

import builtins
import hashlib
import linecache
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType

import jax

from ..compiler.driver import Compiled, compile_spec
from ..compiler.locate import Located, NotFoundError, find, modules
from ..compiler.passes.contracts import known
from ..compiler.records import Scalar
from ..grammar.diagnostic import OptcError
from ..grammar.source import Source
from ..runtime import Program
from ..runtime.lifting import Way


class MissingModuleError(OptcError, ImportError):
    """A module that an `extern` names, and that the caller allows, cannot be imported."""


def load(
    spec: str | PathLike[str],
    *,
    defaults: Mapping[str, Scalar] | None = None,
    allow_use: Iterable[str | PathLike[str]] = (),
    allow_extern: Iterable[str] = (),
    without: Iterable[str] = (),
    lifting: Way | None = None,
    mesh: jax.sharding.Mesh | None = None,
    axis: str | None = None,
) -> Program:
    """The program of a spec: a path, `path.opt:NAME`, or a name of the library.

    `defaults` replaces defaults of hyperparameters. `allow_use` names folders, besides that of
    the spec, from which it may `use` files, and `allow_extern` modules, besides optax, whose
    functions its `extern` stages may call. `without` names passes of the compiler that are left
    out. `lifting` says how work is lifted, in the place of
    what the spec says, and with a `mesh` of devices stacks are split over its `axis`; see
    `runtime.lifting`. Raises FileNotFoundError when there is no such spec,
    SpecError, with all diagnostics, when it has a mistake, ValueError for a pass that there is not,
    and ImportError when a module of `allow_extern` cannot be imported.
    """
    located = locate(spec, allow_use, allow_extern)
    program = run(compile_spec(located, defaults, without=known(without)))
    return program.lift(lifting, mesh, axis)


def compile(
    text: str,
    name: str | None = None,
    *,
    defaults: Mapping[str, Scalar] | None = None,
    allow_extern: Iterable[str] = (),
    without: Iterable[str] = (),
    lifting: Way | None = None,
    mesh: jax.sharding.Mesh | None = None,
    axis: str | None = None,
) -> Program:
    """The program of a spec given as text; `name` picks one of several optimizers.

    Such a spec may use the library, and no files; `allow_extern`, `without`, `lifting`, `mesh` and
    `axis` are those of `load`. Raises SpecError when it has a mistake, and ValueError and
    ImportError like `load`.
    """
    located = Located(Source("<string>", text), name, modules=modules(allow_extern))
    program = run(compile_spec(located, defaults, without=known(without)))
    return program.lift(lifting, mesh, axis)


def locate(
    spec: str | PathLike[str],
    allow_use: Iterable[str | PathLike[str]] = (),
    allow_extern: Iterable[str] = (),
) -> Located:
    """The spec that a caller of `load` means. Raises FileNotFoundError when there is none."""
    try:
        located = find(fspath(spec))
    except NotFoundError as error:
        raise FileNotFoundError(str(error)) from None
    allowed = tuple(Path(folder).resolve() for folder in allow_use)
    return replace(located, allowed=allowed, modules=modules(allow_extern))


def run(compiled: Compiled) -> Program:
    """Execute a compiled module and return its program."""
    digest = hashlib.sha256(compiled.source.encode()).hexdigest()[:12]
    file = f"<optc {compiled.name} {digest}>"
    # Tracebacks and inspect find the text of the module through the line cache.
    lines = compiled.source.splitlines(keepends=True)
    linecache.cache[file] = (len(compiled.source), None, lines, file)
    module = ModuleType(f"optc_{compiled.name}_{digest}", None)
    code = builtins.compile(compiled.source, file, "exec")
    try:
        exec(code, module.__dict__)
    except ImportError as error:
        message = f"a module that `extern` names cannot be imported: {error}"
        raise MissingModuleError(message) from error
    programs = [value for value in vars(module).values() if isinstance(value, Program)]
    (program,) = programs
    program.source = compiled.source
    return program
