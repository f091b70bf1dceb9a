"""The tree that a person names: a file of shapes, a checkpoint, or a built-in model."""

from collections.abc import Callable
from pathlib import Path

from ...grammar.diagnostic import did_you_mean
from . import shapes
from .checkpoints import read_npz, read_safetensors, read_sharded
from .models import MODELS, model
from .tensors import Tree, TreeError

_MOST_BYTES = 1 << 28
"""A file of shapes that is longer is none."""


def find(text: str, read_folder: Callable[[Path], Tree]) -> Tree:
    """The tree of a path or of a built-in name; `read_folder` reads checkpoints that are folders.

    Raises TreeError.
    """
    built_in = model(text)
    if built_in is not None:
        return built_in
    path = Path(text)
    try:
        if text and path.is_dir():
            return read_sharded(path) if any(path.glob("*.safetensors")) else read_folder(path)
        match path.suffix:
            case ".json":
                return shapes.read(text, _text(path))
            case ".safetensors":
                return read_safetensors(path)
            case ".npz":
                return read_npz(path)
    except OSError as error:
        raise TreeError(f"cannot read {text}: {error.strerror}") from None
    except ValueError as error:
        raise TreeError(f"cannot read {text}: {error}") from None
    known = ", ".join(MODELS)
    help = did_you_mean(text, MODELS) or f"the built-in ones are {known}"
    message = "is no .json of shapes, no .safetensors or .npz, no folder, and no built-in model"
    raise TreeError(f"`{text}` {message}; {help}")


def _text(path: Path) -> str:
    with path.open("rb") as file:
        read = file.read(_MOST_BYTES + 1)
    if len(read) > _MOST_BYTES:
        raise TreeError(f"{path} is longer than a file of shapes can be")
    return read.decode("utf-8")
