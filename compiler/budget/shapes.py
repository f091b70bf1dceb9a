"""A JSON of shapes as a tree of weights.

A tensor is a list of whole numbers, `[2, 3]`, or `{"shape": [2, 3], "dtype": "bfloat16"}`. Objects
and lists of other things are nested as in the model; a flat object with paths for keys will do.
"""

import json
from collections.abc import Iterator
from typing import TypeAlias

from .tensors import Tensor, Tree, TreeError, trained_dtype

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


def read(name: str, text: str) -> Tree:
    """The tree of a JSON text; TreeError says what is wrong with it."""
    try:
        value: Json = json.loads(text, object_pairs_hook=unique)
        tensors = list(_tensors("", value))
    except RecursionError:
        raise TreeError(f"{name} is nested too deeply") from None
    except TreeError as error:
        raise TreeError(f"{name}: {error}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise TreeError(f"{name} is not JSON: {error.msg} at {place}") from None
    except ValueError as error:
        raise TreeError(f"{name} is not JSON: {error}") from None
    return Tree.of(name, tensors)


def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """The object of some pairs (a hook of `json.loads`); TreeError for a key that stands twice."""
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise TreeError(f"the key `{key}` stands twice in one object")
        found[key] = value
    return found


def _tensors(path: str, value: Json) -> Iterator[Tensor]:
    match value:
        case None:
            return
        case dict() if _is_tensor(value):
            yield Tensor(path, _shape(path, value["shape"]), _dtype(path, value.get("dtype")))
        case dict():
            for key, inner in value.items():
                yield from _tensors(f"{path}/{key}" if path else key, inner)
        case list() if all(isinstance(x, int | float) for x in value):
            yield Tensor(path, _shape(path, value))
        case list():
            for place, inner in enumerate(value):
                yield from _tensors(f"{path}/{place}" if path else str(place), inner)
        case _:
            raise TreeError(f"{_called(path)} is {_shown(value)}, not a shape such as [2, 3]")


def _is_tensor(value: dict[str, Json]) -> bool:
    """Whether it describes one tensor, and is no part of a model with a parameter `shape`."""
    return "shape" in value and (value.keys() == {"shape"} or value.keys() == {"shape", "dtype"})


def _shape(path: str, value: Json) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise TreeError(f"the shape of {_called(path)} is {_shown(value)}, not a list")
    for length in value:
        if isinstance(length, bool) or not isinstance(length, int):
            raise TreeError(f"the shape of {_called(path)} has {_shown(length)}, no whole number")
        if length < 0:
            raise TreeError(f"the shape of {_called(path)} has {length}, which is below 0")
    return tuple(length for length in value if isinstance(length, int))


def _dtype(path: str, value: Json) -> str:
    if value is None:
        return "float32"
    if not isinstance(value, str):
        raise TreeError(f"the dtype of {_called(path)} is {_shown(value)}, not a name")
    try:
        return trained_dtype(value)
    except TreeError as error:
        raise TreeError(f"the dtype of {_called(path)}: {error}") from None


def _called(path: str) -> str:
    return f"`{path}`" if path else "the whole"


def _shown(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
