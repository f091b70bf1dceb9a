"""The bytes of a state, to the last one of what `init` allocates."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ..graph import Graph, walk
from ..ops import OPS, draws
from ..records import BYTES, Slot
from .extents import Extents
from .members import Members, Row
from .places import started
from .tensors import WIDTHS

_DTYPES = {**WIDTHS, **BYTES}
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
    graph: Graph, members: Members, extents: Extents, opaque: Mapping[int, int], scalar: int
) -> StateBytes:
    """The bytes of the state of a graph without dead nodes.

    `opaque` has the bytes of the slots of transformations, by number, and `scalar` is the width of
    a float that stands alone: 4, and 8 where JAX computes in 64 bits.
    """
    slots = [
        SlotBytes(slot.stage, slot.name, None, 0, {}, opaque.get(number, 0))
        if slot.type.kind == "opaque"
        else _slot(number, slot, members, extents, _beside(graph, number, extents, scalar), scalar)
        for number, slot in enumerate(graph.slots)
    ]
    floats = sum(not parameter.static for parameter in graph.hyperparameters)
    return StateBytes(tuple(slots), scalar * floats, _COUNT, _KEY * has_key(graph))


def has_key(graph: Graph) -> bool:
    """Whether a graph without dead nodes draws random numbers, so that its state has a key."""
    return any(draws(OPS[node.op]) for region in graph.regions() for node in walk(region))


def _beside(graph: Graph, number: int, extents: Extents, scalar: int) -> int:
    """What a history keeps beside its fields: how often it was pushed, and perhaps products."""
    made = started(graph).get(number)
    if made is None:
        return 0
    size = extents.places.get(made.id, 0) if made.get("products") else 0
    return _COUNT + size * size * scalar


def _slot(
    number: int, slot: Slot, members: Members, extents: Extents, beside: int, scalar: int
) -> SlotBytes:
    if slot.type.kind not in ("field", "history"):
        # A condition is one byte; whole numbers are as wide as floats.
        alone = 1 if slot.type.dtype == "bool" else scalar
        return SlotBytes(slot.stage, slot.name, slot.dtype, 0, {}, alone)
    groups: dict[str | None, int] = {}
    tensors = 0
    for sort, row in members.sorts.items():
        if row.member[slot.type.domain]:
            count = members.counts[sort]
            size = count * prod(extents.slots[number, sort]) * _width(slot, row, scalar)
            groups[row.group] = groups.get(row.group, 0) + size
            tensors += count
    return SlotBytes(slot.stage, slot.name, slot.dtype, tensors, groups, beside)


def _width(slot: Slot, row: Row, scalar: int) -> int:
    """The bytes of one number of a field slot."""
    match slot.type.dtype:
        case "bool":
            return 1
        case "int":
            return scalar
        case "float":
            # JAX has float64 only where it computes in 64 bits.
            width = _DTYPES[slot.dtype or row.tensor.dtype]
            return min(max(width, 4) if slot.wide else width, scalar)
