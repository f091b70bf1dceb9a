"""Which weight tensors lie in stacks: one array for several of equal shape, dtype and role.

A function of one tensor is lifted to many in two ways. Tensor by tensor each has a call of one
inner function; in a stack all are one call under `vmap`, so that their products are one batched
product. The second is what an accelerator wants. On a CPU it gains nothing where matrices are of
some size, and gradients are copied into stacks and steps out of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import jax

from .devices import Split
from .field import Field, Mask
from .hyperparameters import Value
from .tree import Place, Tree

Way: TypeAlias = Literal["auto", "tensors", "stacked"]
"""How matrices are lifted: tensor by tensor, in stacks, or as the backend has it best."""


@dataclass(frozen=True)
class Lifting:
    """What a program or its caller says of lifting.

    With a `mesh` of devices each stack is split over its `axis`: each device keeps and works out
    its part. Raises ValueError for what is no way, and for an axis that the mesh does not have.
    """

    way: Way = "auto"
    mesh: jax.sharding.Mesh | None = None
    axis: str | None = None

    def __post_init__(self) -> None:
        if self.way not in get_args(Way):
            ways = ", ".join(repr(way) for way in get_args(Way))
            raise ValueError(f"`lifting` is {self.way!r}; it is one of {ways}")
        if (self.mesh is None) != (self.axis is None):
            raise ValueError("`mesh` and `axis` are given together: stacks are split over an axis")
        if self.mesh is not None and self.axis not in self.mesh.shape:
            axes = ", ".join(repr(name) for name in self.mesh.shape)
            raise ValueError(f"`axis` is {self.axis!r}; the mesh has {axes}")
        if self.mesh is not None and self.way == "tensors":
            raise ValueError(
                '`lifting` is "tensors", and only stacks are split over devices: leave out `mesh`'
            )

    @property
    def is_stacked(self) -> bool:
        """Whether there are to be stacks, here and now."""
        on_accelerator = jax.default_backend() != "cpu"
        return self.way == "stacked" or (
            self.way == "auto" and (on_accelerator or self.mesh is not None)
        )

    @property
    def split(self) -> Split | None:
        """Over which devices stacks are split."""
        if self.mesh is None or self.axis is None:
            return None
        return Split(self.mesh, self.axis)


Masks: TypeAlias = Callable[[Field, Mapping[str, Value]], Sequence[Mask]]
"""Sets of tensors, for some weights and hyperparameters."""


def lifted(
    tree: Tree,
    h: Mapping[str, Value],
    lifting: Lifting,
    matrices: Masks | None,
    sets: Masks | None,
) -> Tree:
    """The tree with its stacks: of the tensors of `matrices`, those that are alike.

    Of one shape and dtype, that is, and in the same of `sets`. A tensor that is alone stays a place
    of its own. Places have the order of their first members.
    """
    if matrices is None or not lifting.is_stacked:
        return tree
    w = Field((None,) * len(tree.leaves), tree)
    works, told = (
        [mask.flags for mask in masks(w, h)] if masks else [] for masks in (matrices, sets)
    )
    classes: dict[object, list[int]] = {}
    for i, leaf in enumerate(tree.leaves):
        alike = (leaf.shape, leaf.dtype, *(flags[i] for flags in (*works, *told)))
        classes.setdefault(alike if any(flags[i] for flags in works) else i, []).append(i)
    parts = lifting.split.devices if lifting.split else 1
    places = tuple(
        Place(tree.leaves[members[0]], tuple(members), _rows(members, parts))
        for members in classes.values()
    )
    if not any(place.is_stack for place in places):
        return tree
    return replace(tree, lifted=places, split=lifting.split)


def _rows(members: Sequence[int], parts: int) -> tuple[int, ...]:
    """The members along a stack's first axis, whose equal parts lie on one device each.

    They are dealt to the devices in turn, so that those that follow each other, which have their
    turns together in staggered work, lie on different ones.
    """
    if len(members) == 1:
        return ()
    each = -(-len(members) // parts)
    return tuple(
        members[(row * parts + part) % len(members)] for part in range(parts) for row in range(each)
    )
