"""Trees of weights as text, for `jax.export`, which writes down what states are made of."""

import json
from typing import Any

import jax

from .tree import Leaf, Place, Tree


def written(beside: tuple[Tree, tuple[int, ...]]) -> bytes:
    """The text of a tree and of numbers beside it. Raises ValueError for what has none."""
    tree, axes = beside
    if tree.split is not None:
        raise ValueError("stacks that devices share cannot be exported: load without `mesh`")
    found = {
        "structure": _container(tree.unflatten(list(range(len(tree.leaves))))),
        "leaves": [[leaf.path, leaf.shape, leaf.dtype] for leaf in tree.leaves],
        "places": [[place.members, place.rows, place.shapes] for place in tree.places],
        "axes": axes,
    }
    return json.dumps(found).encode()


def read(text: bytes) -> tuple[Tree, tuple[int, ...]]:
    """What was `written`."""
    found = json.loads(text)
    leaves = tuple(Leaf(path, tuple(shape), dtype) for path, shape, dtype in found["leaves"])
    places = tuple(
        Place(leaves[members[0]], tuple(members), tuple(rows), tuple(map(tuple, shapes)))
        for members, rows, shapes in found["places"]
    )
    structure = jax.tree.structure(_contained(found["structure"]))
    return Tree(structure, leaves, places), tuple(found["axes"])


def _container(node: Any) -> Any:
    """A container of Python as JSON has it, with its kind before what it holds."""
    match node:
        case None | int():
            return node
        case dict() if type(node) is dict and all(isinstance(key, str) for key in node):
            return ["dict", {key: _container(value) for key, value in node.items()}]
        case list() | tuple() if type(node) in (list, tuple):
            return [type(node).__name__, [_container(value) for value in node]]
        case _:
            raise ValueError(
                "weights in stacks or packs are exported in dicts, lists and tuples, and not in a "
                f'{type(node).__name__}: load with lifting="tensors"'
            )


def _contained(node: Any) -> Any:
    match node:
        case ["dict", values]:
            return {key: _contained(value) for key, value in values.items()}
        case ["list", values]:
            return [_contained(value) for value in values]
        case ["tuple", values]:
            return tuple(_contained(value) for value in values)
        case _:
            return node
