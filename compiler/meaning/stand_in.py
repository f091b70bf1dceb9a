"""Specs that stand for a side that is none: what a claim of the library says it is, on tapes."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..records import Scalar
from .compare import Setting, Together, compare
from .normal import same_map
from .side import Program, Side, Values, admits
from .tapes import Tape
from .trajectory import UnfitError, bind


@dataclass(frozen=True, eq=False)
class StandIn:
    """A spec with values for all its hyperparameters, which goes the way of `side` on tapes."""

    side: Side
    program: Program
    values: Values


def stand_in(side: Side, values: Values, tapes: Sequence[Tape]) -> StandIn | None:
    """The spec that stands for a side with these values, if there is one: itself, if it is a spec.

    It was followed on all of these tapes that fit it, to their ends, and on one at least.
    """
    found = side.spec(values)
    if found is None:
        return None
    program, own = found
    ranges = {h.name: h for h in program.hyperparameters}
    if program is not side and not all(admits(ranges[name], own[name]) for name in own):
        return None
    bound = bind(program.graph, own)
    if program is side:
        return StandIn(side, program, bound)
    followed = 0
    for tape in tapes:
        try:
            together = compare(program, side, tape, Setting(own, values, ""))
        except UnfitError:
            continue
        if not isinstance(together, Together) or together.reason:
            return None
        followed += 1
    return StandIn(side, program, bound) if followed else None


@dataclass(frozen=True)
class Difference:
    """A hyperparameter that has two values in two programs that are otherwise one map."""

    name: str
    a: Scalar
    b: Scalar


def differences(a: StandIn, b: StandIn) -> tuple[Difference, ...]:
    """The hyperparameters that differ, where the programs are one map at equal values."""
    apart = [
        Difference(name, value, b.values[name])
        for name, value in a.values.items()
        if name in b.values and value != b.values[name]
    ]
    if not apart or a.values.keys() != b.values.keys():
        return ()
    return tuple(apart) if same_map(a.program.graph, b.program.graph) else ()
