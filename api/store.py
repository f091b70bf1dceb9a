"""The folder in which what was compiled is kept from process to process: bytes by key.

What is kept is code: text that is executed, and machine code in pickles. So an entry is read only
where this user alone could have written it. What is damaged, cut short, or not ours is passed over
without a word but in the log, and written anew; so is what cannot be written.
"""

import hashlib
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import platformdirs

from ..grammar.diagnostic import OptcError

FOLDER, LIMIT = "OPTC_CACHE_DIR", "OPTC_CACHE_MIB"
"""Environment variables: where the folder is, and how many MiB it may take."""

MIB = 1 << 20
DEFAULT_LIMIT = 1024 * MIB

_MARK = b"optc kept, form 1\n"
_DIGEST = 32
_ENTRY = re.compile(r"[0-9a-f]{64}\.kept")
_PART = re.compile(r"\.[0-9a-z_]+\.part")
_ABANDONED = 3600.0
"""Seconds after which a file that is not finished is that of a process that has ended."""

_FLAGS = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
_log = logging.getLogger(__name__)


class LimitError(OptcError, ValueError):
    """The environment says no number of MiB."""


class Usage(NamedTuple):
    """How much is kept."""

    entries: int
    size: int
    """In bytes."""


class _File(NamedTuple):
    used: float
    size: int
    path: str


@dataclass(frozen=True)
class Store:
    """A folder of entries, of which those that were not used for longest go first.

    `limit` is how many bytes all of them may take.
    """

    folder: Path
    limit: int = DEFAULT_LIMIT

    @classmethod
    def of_user(cls) -> Self:
        """The store of this user, where the environment says.

        Raises LimitError for a limit that is no number.
        """
        named = os.environ.get(FOLDER)
        folder = Path(named) if named else platformdirs.user_cache_path("optc", appauthor=False)
        return cls(folder.absolute(), _limit(os.environ.get(LIMIT)))

    def read(self, key: str) -> bytes | None:
        """What is kept under a key; None where nothing is that this user has written whole."""
        path = self._path(key)
        try:
            data = self._bytes(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.debug("not read: %s", error)
            return None
        head = len(_MARK) + _DIGEST
        value = data[head:]
        if data[:head] != _MARK + _digest(key, value):
            _log.debug("passed over, since it is damaged: %s", path)
            return None
        with suppress(OSError):
            os.utime(path)
        return value

    def write(self, key: str, value: bytes) -> None:
        """Keep a value, whole or not at all; what was kept under the key goes."""
        data = _MARK + _digest(key, value) + value
        if len(data) > self.limit:
            _log.debug("not kept, since it is larger than all may be: %d bytes", len(data))
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_foreign()
            self._put(self._path(key), data)
            self._make_room()
        except OSError as error:
            _log.debug("not kept: %s", error)

    def usage(self) -> Usage:
        """How many entries there are, and their bytes."""
        sizes = [file.size for file in self._files(_ENTRY)]
        return Usage(len(sizes), sum(sizes))

    def clear(self) -> Usage:
        """Remove all entries, and nothing else: how much went. Raises OSError."""
        gone = self.usage()
        for file in (*self._files(_ENTRY), *self._files(_PART)):
            Path(file.path).unlink(missing_ok=True)
        return gone

    @property
    def refusal(self) -> str:
        """Why nothing is read from the folder or written to it; empty where it is this user's."""
        try:
            self._refuse_foreign()
        except FileNotFoundError:
            return ""
        except OSError as error:
            return error.strerror or str(error)
        return ""

    @property
    def is_writable(self) -> bool:
        """Whether entries can be written, as far as permissions say."""
        there = next(each for each in (self.folder, *self.folder.parents) if each.exists())
        effective = os.access in os.supports_effective_ids
        return os.access(there, os.W_OK | os.X_OK, effective_ids=effective)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.kept"

    def _refuse_foreign(self) -> None:
        """Raise OSError where another user could have written into the folder."""
        found = os.stat(self.folder)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError("it is not a folder")
        _refuse_foreign(found)

    def _bytes(self, path: Path) -> bytes:
        self._refuse_foreign()
        flags = os.O_RDONLY
        for name in _FLAGS:
            flags |= getattr(os, name, 0)
        with open(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > self.limit:
                raise OSError(f"{path} is no file that was kept here")
            _refuse_foreign(found)
            return file.read()

    def _put(self, path: Path, data: bytes) -> None:
        # Another process may be reading or writing the same entry: it sees the old or the new one.
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        finally:
            with suppress(OSError):
                os.unlink(name)

    def _make_room(self) -> None:
        for part in self._files(_PART):
            if part.used < time.time() - _ABANDONED:
                Path(part.path).unlink(missing_ok=True)
        files = sorted(self._files(_ENTRY))
        excess = sum(file.size for file in files) - self.limit
        for file in files:
            if excess <= 0:
                return
            Path(file.path).unlink(missing_ok=True)
            excess -= file.size

    def _files(self, name: re.Pattern[str]) -> Iterator[_File]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as found:
            for entry in found:
                # Another process may have removed it meanwhile.
                with suppress(FileNotFoundError):
                    if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        facts = entry.stat(follow_symlinks=False)
                        yield _File(facts.st_mtime, facts.st_size, entry.path)


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + value).digest()


def _refuse_foreign(found: os.stat_result) -> None:
    """Raise PermissionError for a file or folder that another user could have written."""
    if not hasattr(os, "geteuid"):  # where there are no such users, the profile is the user's own
        return
    if found.st_uid != os.geteuid():
        raise PermissionError("it belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("other users may write to it")


def _limit(text: str | None) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not re.fullmatch("[0-9]{1,9}", text):
        raise LimitError(f"`{LIMIT}` is {text!r}; it is a whole number of MiB")
    return int(text) * MIB
