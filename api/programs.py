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
from typing import TYPE_CHECKING

import jax

from ..compiler.locate import Located, NotFoundError, find, modules
from ..compiler.records import Scalar
from ..grammar.diagnostic import OptcError
from ..grammar.source import Source
from ..runtime import Program
from ..runtime.lifting import Way
from .modules import Module, module_of
from .store import Store

if TYPE_CHECKING:
    from ..compiler.driver import Compiled


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
    cache: bool = False,
) -> Program:
    """The program of a spec: a path, `path.opt:NAME`, or a name of the library.

    `defaults` replaces defaults of hyperparameters. `allow_use` names folders, besides that of
    the spec, from which it may `use` files, and `allow_extern` modules, besides optax, whose
    functions its `extern` stages may call. `without` names passes of the compiler that are left
    out. `lifting` says how work is lifted, in the place of
    what the spec says, and with a `mesh` of devices stacks are split over its `axis`; see
    `runtime.lifting`. With `cache` the module and its executables are kept in the user's cache
    folder, and taken from there. Raises FileNotFoundError when there is no such spec,
    SpecError, with all diagnostics, when it has a mistake, ValueError for a pass that there is not,
    and ImportError when a module of `allow_extern` cannot be imported.
    """
    located = locate(spec, allow_use, allow_extern)
    program = program_of(located, defaults, without=without, cache=cache)
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
    cache: bool = False,
) -> Program:
    """The program of a spec given as text; `name` picks one of several optimizers.

    Such a spec may use the library, and no files; `allow_extern`, `without`, `lifting`, `mesh`,
    `axis` and `cache` are those of `load`. Raises SpecError when it has a mistake, and ValueError
    and ImportError like `load`.
    """
    located = Located(Source("<string>", text), name, modules=modules(allow_extern))
    program = program_of(located, defaults, without=without, cache=cache)
    return program.lift(lifting, mesh, axis)


def program_of(
    located: Located,
    defaults: Mapping[str, Scalar] | None = None,
    observe: Mapping[str, str] | None = None,
    *,
    without: Iterable[str] = (),
    cache: bool = False,
) -> Program:
    """The program of a spec that was found; `observe` are further observations by name.

    Raises SpecError, ValueError and MissingModuleError as `load` does.
    """
    store = Store.of_user() if cache else None
    module = module_of(located, defaults, observe, _passes(without), store)
    program = execute(module)
    return program if store is None else program.keep(store, module.source)


def _passes(names: Iterable[str]) -> frozenset[str]:
    """The names, once all are known to be passes'. The compiler is imported if there are any."""
    if not names:
        return frozenset()
    from ..compiler.passes.contracts import known

    return known(names)


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


def run(compiled: "Compiled") -> Program:
    """Execute a compiled module and return its program."""
    return execute(Module(compiled.name, compiled.source))


def execute(module: Module) -> Program:
    """Execute a module and return its program. Raises MissingModuleError."""
    digest = hashlib.sha256(module.source.encode()).hexdigest()[:12]
    file = f"<optc {module.name} {digest}>"
    # Tracebacks and inspect find the text of the module through the line cache.
    lines = module.source.splitlines(keepends=True)
    linecache.cache[file] = (len(module.source), None, lines, file)
    made = ModuleType(f"optc_{module.name}_{digest}", None)
    code = builtins.compile(module.source, file, "exec")
    try:
        exec(code, made.__dict__)
    except ImportError as error:
        message = f"a module that `extern` names cannot be imported: {error}"
        raise MissingModuleError(message) from error
    programs = [value for value in vars(made).values() if isinstance(value, Program)]
    (program,) = programs
    program.source = module.source
    return program
