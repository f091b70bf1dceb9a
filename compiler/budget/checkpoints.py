"""The headers of checkpoint files: shapes and dtypes, and none of the numbers."""

import ast
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .shapes import unique
from .tensors import Tensor, Tree, TreeError, trained_dtype

_MOST_HEADER = 100_000_000
"""The longest header that the format of safetensors allows."""

_MOST_NPY = 1 << 16

_NUMPY_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex", "b": "bool"}


def read_safetensors(path: Path) -> Tree:
    """The tree of a `.safetensors` file. Dots in names become slashes."""
    return Tree.of(str(path), _safetensors(path))


def read_sharded(folder: Path) -> Tree:
    """The tree of a folder whose `.safetensors` files hold a model between them."""
    files = sorted(folder.glob("*.safetensors"))
    return Tree.of(str(folder), (tensor for file in files for tensor in _safetensors(file)))


def _safetensors(path: Path) -> Iterator[Tensor]:
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MOST_HEADER + 1
        if length > _MOST_HEADER:
            raise TreeError(f"{path} is no safetensors file: it does not begin with its header")
        text = file.read(length)
    wrong = f"the header of {path} is not that of a safetensors file"
    try:
        header = json.loads(text, object_pairs_hook=unique)
    except TreeError as error:
        raise TreeError(f"{wrong}: {error}") from None
    except (ValueError, RecursionError):
        raise TreeError(wrong) from None
    if len(text) < length or not isinstance(header, dict):
        raise TreeError(wrong)
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not isinstance(entry, dict) or not entry.keys() >= {"shape", "dtype"}:
            raise TreeError(wrong)
        yield _tensor(path, name.replace(".", "/"), entry["shape"], entry["dtype"])


def read_npz(path: Path) -> Tree:
    """The tree of a `.npz` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return Tree.of(str(path), list(_npz(path, archive)))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError):
        raise TreeError(f"{path} is no npz file, or a broken one") from None


def _npz(path: Path, archive: zipfile.ZipFile) -> Iterator[Tensor]:
    for name in archive.namelist():
        if not name.endswith(".npy"):
            raise TreeError(f"{path} holds `{name}`, which is no array")
        with archive.open(name) as file:
            header = _npy_header(file)
        if header is None:
            raise TreeError(f"`{name}` in {path} is no array of NumPy")
        shape, dtype = header
        yield _tensor(path, name.removesuffix(".npy"), list(shape), dtype)


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], str] | None:
    """Shape and dtype at the start of a `.npy` file: a Python literal behind its length."""
    start = file.read(8)
    if start[:6] != b"\x93NUMPY":
        return None
    try:
        width = "<H" if start[6] == 1 else "<I"
        (length,) = struct.unpack(width, file.read(struct.calcsize(width)))
        header = ast.literal_eval(file.read(min(length, _MOST_NPY)).decode("latin-1").strip())
        return tuple(header["shape"]), _numpy_dtype(header["descr"])
    except (
        struct.error,
        LookupError,
        ValueError,
        SyntaxError,
        TypeError,
        RecursionError,
        MemoryError,
    ):
        return None


def _numpy_dtype(descr: object) -> str:
    """The name of a dtype that NumPy writes as `<f4`."""
    if not isinstance(descr, str):
        return "object"  # a record: a list of its fields
    kind = descr[1]
    if kind in "SUOMm":
        return "object"
    size = int(descr[2:])
    if (kind, size) == ("V", 2):
        return "bfloat16"  # which NumPy does not know, and keeps as two bytes of no meaning
    return "bool" if kind == "b" else f"{_NUMPY_KINDS[kind]}{8 * size}"


def _tensor(path: Path, name: str, shape: object, dtype: object) -> Tensor:
    sound = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not sound or not isinstance(dtype, str):
        raise TreeError(f"{path}: `{name}` has no shape and dtype that make sense")
    assert isinstance(shape, list)
    try:
        return Tensor(name, tuple(shape), trained_dtype(dtype))
    except TreeError as error:
        raise TreeError(f"{path}: `{name}`: {error}") from None
