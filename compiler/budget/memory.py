"""The bytes of a state, to the last one of what `init` allocates."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ..graph import Graph, walk
from ..parts import shape_of_parts
from ..records import Slot
from .members import Members, Row
from .tensors import WIDTHS

_DTYPES = {**WIDTHS, "int8": 1}
_COUNT = 4
_KEY = 8
"""Two words of 32 bits: `init` makes this sort of key unless it is given another."""


@dataclass(frozen=True, slots=True)
class SlotBytes:
    """What one slot takes: `groups` has the bytes of the tensors of each group, None for no group.

    `scalar` is what a slot takes that is not made of the weights' tensors. `dtype` is the stored
    dtype, None for that of each weight.
    """

    stage: str
    name: str
    dtype: str | None
    tensors: int
    groups: Mapping[str | None, int]
    scalar: int = 0

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.scalar + sum(self.groups.values())


@dataclass(frozen=True, slots=True)
class StateBytes:
    """What a state takes: slots, float hyperparameters, the count of steps, a random key."""

    slots: tuple[SlotBytes, ...]
    hyperparameters: int
    count: int
    key: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(slot.bytes for slot in self.slots) + self.hyperparameters + self.count + self.key


def state_bytes(
    graph: Graph, members: Members, opaque: Mapping[int, int], scalar: int, random: bool
) -> StateBytes:
    """The bytes of a state, which has a key where the program is `random`.

    `opaque` has the bytes of the slots of transformations, by number, and `scalar` is the width of
    a float that stands alone: 4, and 8 where JAX computes in 64 bits.
    """
    slots = [
        SlotBytes(slot.stage, slot.name, None, 0, {}, opaque.get(number, 0))
        if slot.type.kind == "opaque"
        else _slot(slot, members, scalar)
        for number, slot in enumerate(graph.slots)
    ]
    floats = sum(not parameter.static for parameter in graph.hyperparameters)
    return StateBytes(tuple(slots), scalar * floats, _COUNT, _KEY * random)


def draws(graph: Graph) -> bool:
    """Whether a graph without dead nodes draws random numbers, so that its state has a key."""
    ops = (node.op for region in graph.regions() for node in walk(region))
    return any(op in ("normal", "rademacher", "uniform", "round_stochastic") for op in ops)


def _slot(slot: Slot, members: Members, scalar: int) -> SlotBytes:
    if not slot.type.is_field:
        # A condition is one byte; whole numbers are as wide as floats.
        alone = 1 if slot.type.dtype == "bool" else scalar
        return SlotBytes(slot.stage, slot.name, slot.dtype, 0, {}, alone)
    groups: dict[str | None, int] = {}
    tensors = 0
    known: dict[tuple[tuple[int, ...], str], int] = {}
    for row in members.rows:
        if not row.member[slot.type.domain]:
            continue
        key = (row.tensor.shape, row.tensor.dtype)
        if key not in known:
            known[key] = _tensor(slot, members, row)
        groups[row.group] = groups.get(row.group, 0) + known[key]
        tensors += 1
    return SlotBytes(slot.stage, slot.name, slot.dtype, tensors, groups)


def _tensor(slot: Slot, members: Members, row: Row) -> int:
    shape = shape_of_parts(members.shape(slot.type.domain, row.tensor), slot.type.per)
    match slot.type.dtype:
        case "bool":
            return prod(shape)
        case "int":
            return 4 * prod(shape)
        case "float":
            return _DTYPES[slot.dtype or row.tensor.dtype] * prod(shape)
