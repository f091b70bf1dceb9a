"""Where two programs begin to differ: the first value of one that the other does not have.

Values are matched by what they are on two tapes, not by how they are written. From the weights
that differ the search goes back through values without an equal; those whose inputs all have one
are where the difference enters. A state without an equal leads to the step before. Of fields only
the tensor is looked at that differs most, unless the difference comes from others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graph import Graph, Node, index
from ..ops import OPS
from .compare import Parting
from .side import Program, Side, Values
from .stand_in import stand_in
from .tapes import Array, tape
from .trajectory import Trajectory, UnfitError

EQUAL = 1e-9
"""Values are equal where they differ by less than this part of the largest: the step before the
first difference leaves them some thousand roundings apart."""

NEAR = 0.5
"""A value is worth showing as a counterpart where it is off by less than this part."""


@dataclass(frozen=True)
class Culprit:
    """A value of one side that the other does not have, at a step counted from 1.

    `program` has it: the side, or the spec that stands for it. `state` is the number of the slot
    where it is a state of the beginning that has no equal.
    """

    program: Program
    node: int
    step: int
    state: int | None = None


@dataclass(frozen=True)
class Counterpart:
    """The nearest value of a side that is no graph: its name, and how far off it is, as a part."""

    name: str
    off: float


@dataclass(frozen=True)
class Blame:
    """What of A has no equal in B, and what of B stands in its place, as far as they are known."""

    a: Culprit | None
    b: Culprit | Counterpart | None


def blame(a: Side, b: Side, parting: Parting) -> Blame:
    """Where the sides begin to differ that part there.

    A side that is no spec is replaced by one that goes its way on the tape, where there is one.
    """
    taped = parting.tape
    tapes = [taped, tape(taped.seed + 2, taped.tree, taped.steps)]
    one, ours = _spec(a, parting.setting.a, parting)
    two, theirs = _spec(b, parting.setting.b, parting)
    try:
        own = [one.follow(t, ours, steps=parting.step, keep=True) for t in tapes]
        others = [two.follow(t, theirs, steps=parting.step, keep=True) for t in tapes]
    except UnfitError:
        return Blame(None, None)
    found = _culprit(one, own, others, parting) if isinstance(one, Program) else None
    if isinstance(two, Program):
        return Blame(found, _culprit(two, others, own, parting))
    return Blame(found, _nearest(found, own, others) if found else None)


def _spec(side: Side, values: Values, parting: Parting) -> tuple[Side, Values]:
    """A spec that stands for a side, and its values; the side itself where there is none."""
    taped = replace(parting.tape, batches=parting.tape.batches[: parting.step])
    found = stand_in(side, values, [taped])
    return (found.program, found.values) if found else (side, values)


def _culprit(
    program: Program, own: Sequence[Trajectory], others: Sequence[Trajectory], parting: Parting
) -> Culprit | None:
    """Where the difference enters: for the tensor that differs most, or else for all of them."""
    found = _found(program, own, others, parting, parting.place)
    nodes = index(program.graph)
    if found is not None and OPS[nodes[found.node].op].op_class != "reduction":
        return found
    return _found(program, own, others, parting, None) or found


def _found(
    program: Program,
    own: Sequence[Trajectory],
    others: Sequence[Trajectory],
    parting: Parting,
    place: int | None,
) -> Culprit | None:
    graph = program.graph
    nodes = index(graph)
    roles = ("slot",) if parting.evaluation else ("step", "weights")
    wanted = [
        result
        for output, result in zip(graph.outputs, graph.step.results, strict=True)
        if output.role in roles
    ]
    for step in range(parting.step, 0, -1):
        values, theirs = _values(own, step, place), _Known(_values(others, step, place))
        entries, states = _frontier(graph, nodes, wanted, values, theirs)
        if entries:
            return Culprit(program, min(entries, key=_order(graph).__getitem__), step)
        if not states:
            return None
        numbers = sorted({_slot(nodes[id]) for id in states})
        if step == 1:
            return Culprit(program, states[0], 1, numbers[0])
        written = _written(graph)
        wanted = [written[number] for number in numbers if number in written]
        earlier, seen = _Known(_values(others, step - 1, place)), _values(own, step - 1, place)
        if not any(id in seen and not earlier.has(seen[id]) for id in wanted):
            # It was worked out on both sides, and one of them keeps something else.
            return Culprit(program, states[0], step, numbers[0])
    return None


def _frontier(
    graph: Graph,
    nodes: Mapping[int, Node],
    wanted: Sequence[int],
    values: Mapping[int, Array],
    theirs: "_Known",
) -> tuple[list[int], list[int]]:
    """Values without an equal whose inputs have one, and states without, behind `wanted`."""
    entries, states = [], []
    plain = _plain(nodes)
    seen: set[int] = set()
    stack = [*wanted]
    while stack:
        id = stack.pop()
        if id in seen or id not in values or theirs.has(values[id]):
            continue
        seen.add(id)
        node = nodes[id]
        if node.op == "state":
            states.append(id)
        if OPS[node.op].op_class == "leaf" and node.op != "item":
            continue
        used = (*_inputs(node), *_chosen(node, nodes, values))
        missing = [i for i in used if i in values and not theirs.has(values[i])]
        asked = [i for i in missing if i not in plain]
        if not asked:
            entries.append(id)
        stack += asked
    return entries, sorted(states, key=_order(graph).__getitem__)


def _inputs(node: Node) -> Iterator[int]:
    """What a node uses, in its regions too."""
    yield from node.inputs
    for region in node.regions:
        for inner in region.nodes:
            yield from _inputs(inner)


def _chosen(node: Node, nodes: Mapping[int, Node], values: Mapping[int, Array]) -> Iterator[int]:
    """What a choice or a turn made of the value that a node takes from it."""
    if node.op != "item":
        return
    source, place = nodes[node.inputs[0]], int(node["index"])
    if source.op == "stagger":
        yield source.regions[0].results[place]
    if source.op == "if" and (condition := values.get(source.inputs[0])) is not None:
        for region, holds in zip(source.regions, (True, False), strict=True):
            if (condition == holds).all():
                yield region.results[place]


def _plain(nodes: Mapping[int, Node]) -> set[int]:
    """Scalars of parameters and `t` alone: what is done with them says more than they do."""
    found: set[int] = set()
    for id, node in nodes.items():
        known = node.op in ("const", "parameter") or (node.op, node.get("name")) == ("input", "t")
        is_formula = OPS[node.op].op_class == "elementwise"
        if known or (is_formula and all(i in found for i in node.inputs)):
            found.add(id)
    return found


def _order(graph: Graph) -> dict[int, int]:
    return {id: number for number, id in enumerate(index(graph))}


def _slot(node: Node) -> int:
    return int(node["name"])


def _written(graph: Graph) -> dict[int, int]:
    """The node that writes each slot."""
    pairs = zip(graph.outputs, graph.step.results, strict=True)
    return {output.index: result for output, result in pairs if output.role == "slot"}


# ---- values


def _values(
    trajectories: Sequence[Trajectory], step: int, place: int | None = None
) -> dict[int, Array]:
    """The values of a step on all tapes in one vector, without those that are no numbers.

    With `place` only that tensor of fields.
    """
    kept = [trajectory.moments[step - 1].values for trajectory in trajectories]
    found = {}
    for id in kept[0]:
        parts = [_numbers(values.get(id), place) for values in kept]
        if all(part is not None for part in parts):
            found[id] = np.concatenate([part for part in parts if part is not None])
    return found


def _numbers(value: Any, place: int | None) -> Array | None:
    """A value as a vector; NaN stands for a tensor outside its domain."""
    if isinstance(value, list) and place is not None:
        value = value[place : place + 1]
        if any(x is None for x in value):
            return None
    if isinstance(value, list):
        if not all(x is None or isinstance(x, np.ndarray | float | int) for x in value):
            return None
        tensors = [np.full(1, np.nan) if x is None else np.ravel(x) for x in value]
        return np.concatenate(tensors).astype(np.float64) if tensors else None
    if isinstance(value, bool | int | float | np.generic):
        return np.array([float(value)])
    return None


class _Known:
    """The values of the other side, to look for an equal in."""

    def __init__(self, values: Mapping[int, Array]) -> None:
        self._by_length: dict[int, list[Array]] = {}
        for value in values.values():
            self._by_length.setdefault(len(value), []).append(value)

    def has(self, value: Array) -> bool:
        """Whether one of them is equal to it."""
        return any(_off(value, x) <= EQUAL for x in self._by_length.get(len(value), ()))


def _off(value: Array, other: Array) -> float:
    """How far apart two vectors are, as a part of the larger number of the first."""
    if not np.array_equal(np.isfinite(value), np.isfinite(other)):
        return np.inf
    inside = np.isfinite(value)
    if not inside.any():
        return 0.0
    gap = float(np.abs(value - other)[inside].max())
    return gap / max(float(np.abs(value)[inside].max()), 1e-300) if gap else 0.0


def _nearest(
    culprit: Culprit, ours: Sequence[Trajectory], theirs: Sequence[Trajectory]
) -> Counterpart | None:
    """The value of the other side that is nearest to the culprit, up to its sign."""
    value = _values(ours, culprit.step).get(culprit.node)
    if value is None:
        return None
    best: Counterpart | None = None
    for id, other in _values(theirs, culprit.step).items():
        if len(other) != len(value):
            continue
        name = theirs[0].names.get(id, "")
        for sign, shown in ((1.0, name), (-1.0, f"-{name}")):
            off = _off(value, sign * other)
            if off < (best.off if best else NEAR):
                best = Counterpart(shown, off)
    return best
