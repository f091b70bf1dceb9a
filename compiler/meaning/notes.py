"""What a verdict should be read with: values that were kept, and what was left out of account."""

from collections.abc import Iterator

from ..graph import walk
from ..ops import ASKED
from ..printing.declared import limits
from .matching import Matched, shown
from .side import Program, Side, Values


def value_notes(a: Side, b: Side, matched: Matched, set_a: Values, set_b: Values) -> Iterator[str]:
    """Which values hyperparameters have that one side alone has, or that differ by default."""
    theirs = {h.name: h for h in b.hyperparameters}
    for each in matched.both:
        other = theirs[each.name].default
        if other is not None and other != each.default:
            yield (
                f"`{each.name}` is {shown(each.default)} in {a.name} and {shown(other)} in "
                f"{b.name} by default; both have one value here"
            )
    for side, other_side, own, given in ((a, b, matched.a, set_a), (b, a, matched.b, set_b)):
        kept = [f"{name} = {shown(value)}" for name, value in own.items() if name not in given]
        if kept and isinstance(other_side, Program):
            yield f"{side.name} alone has {', '.join(kept)}: kept"
        elif kept:
            yield f"{side.name} is taken at {', '.join(kept)}"


def range_notes(a: Side, b: Side, matched: Matched) -> Iterator[str]:
    """Where ranges differ: two that are the same inside both may not be outside of one."""
    ours, theirs = ({h.name: limits(h) for h in side.hyperparameters} for side in (a, b))
    for name in (h.name for h in matched.both):
        if ours[name] != theirs[name]:
            one, other = (f"in {x}" if x else "any number" for x in (ours[name], theirs[name]))
            yield f"`{name}` is {one} in {a.name} and {other} in {b.name}: compared inside both"


def program_notes(a: Side, b: Side) -> Iterator[str]:
    """What a program stores with less precision, and what one asks for and the other does not."""
    for side in (a, b) if a is not b else (a,):
        narrow = _narrow(side) if isinstance(side, Program) else ()
        if narrow:
            yield f"{side.name} keeps {', '.join(narrow)}, which is left out of account"
    if isinstance(a, Program) and isinstance(b, Program):
        ours, others = _asked(a), _asked(b)
        for side, more in ((a, ours - others), (b, others - ours)):
            if more:
                yield f"{side.name} alone asks for {', '.join(sorted(more))}"


def _narrow(program: Program) -> list[str]:
    """The states that are rounded when they are kept; rounding to whole numbers is followed."""
    slots = [slot for slot in program.graph.slots if slot.dtype not in (None, "int8")]
    return [f"`{slot.name}` in {slot.dtype}" for slot in slots]


def _asked(program: Program) -> set[str]:
    return {node.op for node in walk(program.graph.step) if node.op in ASKED}
