"""Which weight tensors lie together: in stacks those of equal shape, in packs small ones.

A function of one tensor is lifted to many in three ways. Tensor by tensor each has a call of one
inner function. In a stack all are one call under `vmap`, so that their products are one batched
product. That is what an accelerator wants; on a CPU it gains nothing where matrices are of some
size, and gradients are copied into stacks and steps out of them. In a pack tensors of any shapes
are one vector, where no work sees more than single elements: so what each array and each kernel
costs is paid once. On a CPU that is more than their arithmetic, where tensors are small and many.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import jax

from .devices import Split
from .field import Field, Mask
from .hyperparameters import Value
from .tree import Place, Tree

Way: TypeAlias = Literal["auto", "tensors", "stacked", "packed"]
"""How work is lifted: tensor by tensor, matrices in stacks, small tensors in packs, or as the
backend has it best."""

SMALL = 8192
"""Below how many elements a tensor is packed: `benchmarks.packing` finds where that pays."""

MANY = 32
"""From how many tensors on a pack is worth it, where nobody asks for one."""


@dataclass(frozen=True)
class Lifting:
    """What a program or its caller says of lifting.

    With a `mesh` of devices each stack is split over its `axis`: each device keeps and works out
    its part. Tensors `below` so many elements may be packed. Raises ValueError for what is no way,
    and for an axis that the mesh does not have.
    """

    way: Way = "auto"
    mesh: jax.sharding.Mesh | None = None
    axis: str | None = None
    below: int = SMALL

    def __post_init__(self) -> None:
        if self.way not in get_args(Way):
            ways = ", ".join(repr(way) for way in get_args(Way))
            raise ValueError(f"`lifting` is {self.way!r}; it is one of {ways}")
        if (self.mesh is None) != (self.axis is None):
            raise ValueError("`mesh` and `axis` are given together: stacks are split over an axis")
        if self.mesh is not None and self.axis not in self.mesh.shape:
            axes = ", ".join(repr(name) for name in self.mesh.shape)
            raise ValueError(f"`axis` is {self.axis!r}; the mesh has {axes}")
        if self.mesh is not None and self.way not in ("auto", "stacked"):
            raise ValueError(
                f'`lifting` is "{self.way}", and only stacks are split over devices: '
                "leave out `mesh`"
            )

    @property
    def is_stacked(self) -> bool:
        """Whether there are to be stacks, here and now."""
        return self.way == "stacked" or (
            self.way == "auto" and (_on_accelerator() or self.mesh is not None)
        )

    @property
    def fewest(self) -> int | None:
        """Of how many small tensors a pack is made, here and now; None where there are no packs.

        On several devices weights may be sharded, which a pack of them is not.
        """
        if self.way == "auto":
            packs = not _on_accelerator() and self.mesh is None and jax.device_count() == 1
            return MANY if packs else None
        return 2 if self.way == "packed" else None

    @property
    def split(self) -> Split | None:
        """Over which devices stacks are split."""
        if self.mesh is None or self.axis is None:
            return None
        return Split(self.mesh, self.axis)


Masks: TypeAlias = Callable[[Field, Mapping[str, Value]], Sequence[Mask]]
"""Sets of tensors, for some weights and hyperparameters."""


@dataclass(frozen=True)
class Kinds:
    """What a program says of its tensors, as sets for some weights and hyperparameters.

    `matrices` go through work on matrices, which may be done in stacks. `sets` tell tensors apart
    that may lie together. If it `packs`, tensors may be packed but for those that are seen `whole`.
    """

    matrices: Masks | None = None
    sets: Masks | None = None
    packs: bool = False
    whole: Masks | None = None


def lifted(tree: Tree, h: Mapping[str, Value], lifting: Lifting, kinds: Kinds) -> Tree:
    """The tree with its stacks and packs; packs that it has already stay, and there are no others.

    Of the tensors of `matrices`, those of one shape and dtype that are in the same of `sets` are a
    stack; of the small ones that may be packed those of one dtype in the same of `sets`. A tensor
    that is alone stays a place of its own. Places have the order of their first members.
    """
    classes: dict[object, list[int]] = {}
    packs = _packs(tree, h, lifting, lifting.fewest, kinds)
    packed = {i: place for place in packs for i in place.members}
    stacked = _stackable(tree, h, kinds) if lifting.is_stacked else {}
    for i in range(len(tree.leaves)):
        classes.setdefault(packed.get(i) or stacked.get(i, i), []).append(i)
    parts = lifting.split.devices if lifting.split else 1
    places = tuple(
        alike
        if isinstance(alike, Place)
        else Place(tree.leaves[members[0]], tuple(members), _rows(members, parts))
        for alike, members in classes.items()
    )
    if places == tree.places:
        return tree
    return replace(tree, lifted=places, split=lifting.split)


def packed(tree: Tree, h: Mapping[str, Value], lifting: Lifting, kinds: Kinds) -> Tree:
    """The tree with all packs that there may be, and each other tensor in a place of its own."""
    packs = {place.members[0]: place for place in _packs(tree, h, lifting, 2, kinds)}
    inside = {i for place in packs.values() for i in place.members}
    leaves = enumerate(tree.leaves)
    rest = {i: Place(leaf, (i,)) for i, leaf in leaves if i not in inside}
    both = packs | rest
    return replace(tree, lifted=tuple(both[i] for i in sorted(both)))


def _packs(
    tree: Tree, h: Mapping[str, Value], lifting: Lifting, fewest: int | None, kinds: Kinds
) -> tuple[Place, ...]:
    """The packs of a tree: those that it has, or those of at least so many small tensors."""
    if tree.lifted is not None or fewest is None or not kinds.packs:
        return tuple(place for place in tree.places if place.is_pack)
    whole, told = _flags(tree, h, kinds.whole), _flags(tree, h, kinds.sets)
    classes: dict[object, list[int]] = {}
    for i, leaf in enumerate(tree.leaves):
        if leaf.size < lifting.below and not any(flags[i] for flags in whole):
            alike = leaf.dtype, *(flags[i] for flags in told)
            classes.setdefault(alike, []).append(i)
    return tuple(
        Place(tree.leaves[members[0]], tuple(members), shapes=_shapes(tree, members))
        for members in classes.values()
        if len(members) >= fewest
    )


def _shapes(tree: Tree, members: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    return tuple(tree.leaves[i].shape for i in members)


def _stackable(tree: Tree, h: Mapping[str, Value], kinds: Kinds) -> dict[int, object]:
    """What the tensors that may lie in a stack have in common with the others there."""
    works, told = _flags(tree, h, kinds.matrices), _flags(tree, h, kinds.sets)
    return {
        i: (leaf.shape, leaf.dtype, *(flags[i] for flags in (*works, *told)))
        for i, leaf in enumerate(tree.leaves)
        if any(flags[i] for flags in works)
    }


def _flags(tree: Tree, h: Mapping[str, Value], sets: Masks | None) -> list[tuple[bool, ...]]:
    """Which of the tensors are in each set."""
    w = Field((None,) * len(tree.leaves), tree.plain)
    return [mask.flags for mask in sets(w, h)] if sets else []


def _on_accelerator() -> bool:
    return jax.default_backend() != "cpu"


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
