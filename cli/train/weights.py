"""The shapes of the weights in a checkpoint folder of orbax, or in the folder of a run."""

from collections.abc import Iterator
from pathlib import Path

from ...compiler.budget.tensors import Tensor, Tree, TreeError, trained_dtype
from ..extra import needs_extra


def read_folder(folder: Path) -> Tree:
    """The tree of the newest checkpoint in a folder, or of the folder itself if it is one.

    Where the checkpoint holds `params` beside other things, those are the weights. Raises
    TreeError for a folder without a checkpoint.
    """
    with needs_extra("reading a checkpoint folder"):
        from orbax.checkpoint import StandardCheckpointer
    item = _item(folder)
    if item is None:
        raise TreeError(f"{folder} is a folder without a checkpoint of orbax or .safetensors files")
    try:
        metadata = StandardCheckpointer().metadata(item.absolute()).item_metadata
        if metadata is None:
            raise TreeError(f"the checkpoint {item} does not say what it holds, or is broken")
        tree = metadata.tree
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise TreeError(f"the checkpoint {item} cannot be read: {error}") from None
    if isinstance(tree, dict) and "params" in tree:
        tree = tree["params"]
    return Tree.of(str(folder), _tensors(str(folder), "", tree))


def _item(folder: Path) -> Path | None:
    """The folder that holds the arrays: itself, its item, or that of its newest step."""
    for place in (folder, folder / "default"):
        if (place / "_METADATA").exists():
            return place
    for place in (folder, folder / "checkpoints"):
        steps = [inner for inner in place.glob("[0-9]*") if inner.name.isdigit()]
        for step in sorted(steps, key=lambda inner: int(inner.name), reverse=True):
            item = _item(step)
            if item is not None:
                return item
    return None


def _tensors(name: str, path: str, value: object) -> Iterator[Tensor]:
    match value:
        case None:
            return
        case dict():
            inner = list(value.items())
        case list() | tuple():
            inner = list(enumerate(value))
        case _:
            shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
            if shape is None or dtype is None:
                raise TreeError(f"{name} holds something that is no array at `{path}`")
            yield Tensor(path, tuple(shape), trained_dtype(str(dtype)))
            return
    for key, part in inner:
        yield from _tensors(name, f"{path}/{key}" if path else str(key), part)
