"""Locks of specs from Python: made, written, found again and checked."""

from collections.abc import Iterable, Mapping
from os import PathLike, fspath, path
from pathlib import Path

from ..compiler.locate import NotFoundError, read
from ..compiler.meaning.lock import Lock, read_lock
from ..compiler.records import Scalar
from .fingerprint import Verified, fingerprint, verified
from .programs import locate


def lock(
    spec: str | PathLike[str],
    *,
    defaults: Mapping[str, Scalar] | None = None,
    allow_extern: Iterable[str] = (),
    folder: str | PathLike[str] = ".",
) -> Lock:
    """The lock of a path, `path.opt:NAME`, or a name of the library.

    It is to be written into `folder`: `Path("x.opt.lock").write_text(lock.text())`. Raises
    FileNotFoundError, SpecError, and UnlockableError for a program that runs on no tape.
    """
    located = locate(spec, allow_extern=allow_extern)
    file = None
    if located.folder is not None:
        file = path.relpath(located.source.name, fspath(folder)).replace(path.sep, "/")
    return fingerprint(located, defaults or {}, file)


def verify(
    lock: str | PathLike[str],
    *,
    spec: str | PathLike[str] | None = None,
    allow_extern: Iterable[str] = (),
) -> Verified:
    """Whether a spec means and does what the lock file says; true where it does.

    Without `spec` it is that of the lock, whose file is named from the lock's folder. Raises
    FileNotFoundError, SpecError, and LockError for a file that is no lock.
    """
    file = Path(lock)
    try:
        locked = read_lock(str(file), read(file))
    except NotFoundError as error:
        raise FileNotFoundError(str(error)) from None
    name = locked.optimizer if spec is None else fspath(spec)
    if spec is None and locked.spec is not None:
        name = f"{file.parent / locked.spec}:{locked.optimizer}"
    return verified(locate(name, allow_extern=allow_extern), locked)
