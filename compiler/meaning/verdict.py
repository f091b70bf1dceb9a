"""Whether two optimizers are the same map: on tapes, by normal form, and by parameter maps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

import numpy as np

from ..graph import walk
from ..records import Term
from .blame import Blame, blame
from .compare import Parting, Setting, Together, compare
from .maps import Budget, ParameterMap, literals, search
from .matching import Matched, known, matched, missing
from .normal import same_map
from .notes import program_notes, range_notes, value_notes
from .side import Program, Side, Values, drawn
from .stand_in import Difference, StandIn, differences, stand_in
from .substitute import substituted
from .tapes import Tape, TreeName, tape
from .trajectory import UnfitError

TAPES: Sequence[tuple[TreeName, int]] = (("layers", 0), ("ranks", 1), ("positive", 2))
"""The tree of each tape that is followed, and what is added to the seed."""

LATE = (0, 100, 1000, 10_000, 100_000)
"""The counts at which fresh states are started on a small tape too, since tapes are short and
schedules long. From the first step on it shows what the others have not: a tall hidden matrix."""

DRAWS = 3
"""How often hyperparameters are drawn, beside their defaults."""

CANDIDATES = 8
"""How many maps of one kind that hold on the small tape are tried on the others."""


@dataclass(frozen=True)
class Found:
    """A map that was verified: `name` is `of` with these parameters.

    `proved` is whether the normal forms agree; without `evaluates` the weights to evaluate with
    differ all the same. `claimed` is whether the library said so, and nobody searched.
    """

    name: str
    of: str
    map: ParameterMap
    proved: bool
    evaluates: bool
    claimed: bool = False


@dataclass(frozen=True, eq=False)
class Verdict:
    """What was found out about two sides.

    `same` is None where it is not decided, for the `reason`. `together` are the tapes on which
    they stayed together. With `differences` they are one map at equal values of hyperparameters;
    without, `blame` is where they differ. `maps` are those that claims of the library say, and then
    one that was searched for.
    """

    a: Side
    b: Side
    same: bool | None
    proved: bool = False
    reason: str = ""
    together: tuple[Together, ...] = ()
    parting: Parting | None = None
    blame: Blame | None = None
    differences: tuple[Difference, ...] = ()
    maps: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()


def decide(
    a: Side,
    b: Side,
    set_a: Values | None = None,
    set_b: Values | None = None,
    *,
    seed: int = 0,
    steps: int = 20,
    maps: bool = True,
) -> Verdict:
    """Whether A and B are the same map of weights and gradients to weights.

    Hyperparameters of one name have one value, that of A, and are drawn too; those that only one
    side has, or that `set_a` and `set_b` name, keep their value. Where the answer is no, maps of
    parameters are looked for that would make it yes.
    """
    set_a, set_b = set_a or {}, set_b or {}
    both = matched(a, b, set_a, set_b)
    kept, notes = tuple(value_notes(a, b, both, set_a, set_b)), tuple(program_notes(a, b))
    if lacking := missing(a, b, both):
        return Verdict(a, b, None, reason=lacking, notes=(*kept, *notes))
    verdict = _on_tapes(a, b, both, seed, steps)
    if _is_proved(a, b, literals(both.a), literals(both.b)):
        verdict = _proved(verdict)
    elif verdict.same and (late := _parting_late(a, b, both.defaults)) is not None:
        step = late.tape.done + 1
        note = f"with fresh states at step {step} they part: later steps than the tapes' matter"
        verdict = verdict if late.tape.done else replace(verdict, same=False, parting=late)
        notes = (*notes, note) if late.tape.done else notes
    # Compiling a transformation for another tree takes longer than all else.
    trees = TAPES if verdict.same else TAPES[:1]
    tapes = [tape(seed + offset, tree, steps) for tree, offset in trees]
    tapes += [verdict.parting.tape] if verdict.parting else []
    ours, theirs = stand_in(a, both.defaults.a, tapes), stand_in(b, both.defaults.b, tapes)
    claimed = tuple(_claimed(x) for x in (ours, theirs) if x and x.program is not x.side)
    apart = differences(ours, theirs) if verdict.same is False and ours and theirs else ()
    ranges = range_notes(a, b, both) if verdict.same else ()
    notes = (*verdict.notes, *(() if claimed or apart else kept), *ranges, *notes)
    verdict = replace(verdict, differences=apart, maps=claimed, notes=notes)
    if verdict.same is not False or apart:
        return verdict
    if verdict.parting is not None:
        verdict = replace(verdict, blame=blame(a, b, verdict.parting))
    if maps:
        one, other = ours.program if ours else a, theirs.program if theirs else b
        found = _maps(one, other, set_a, set_b, seed, steps)
        verdict = replace(verdict, maps=(*claimed, *islice(found, 1)))
    return verdict


def _claimed(found: StandIn) -> Found:
    """The map that a claim is."""
    map = ParameterMap(literals(found.values))
    return Found(found.side.name, found.program.name, map, False, True, claimed=True)


def _proved(verdict: Verdict) -> Verdict:
    """The verdict where the normal forms agree: the same, unless tapes show where they do not hold.

    They speak of numbers. Where a step works out what is none, such as 0 / 0, two ways to write one
    formula may go two ways.
    """
    notes, parting = verdict.notes, verdict.parting
    if parting is not None and _is_undefined(verdict, parting):
        note = (
            "their normal forms agree: they part only where one of them divides by 0, or the like"
        )
        return replace(verdict, notes=(*notes, note))
    if parting is not None:
        far = f"{parting.apart:.1e} apart after step {parting.step}"
        notes = (*notes, f"in float64 they are {far}, {parting.setting.words}, by rounding alone")
    return replace(verdict, same=True, proved=True, parting=None, reason="", notes=notes)


def _is_undefined(verdict: Verdict, parting: Parting) -> bool:
    """Whether one of two specs has worked out what is no finite number, until they part."""
    for side, values in ((verdict.a, parting.setting.a), (verdict.b, parting.setting.b)):
        assert isinstance(side, Program)
        given = {
            node.id
            for region in side.graph.regions()
            for node in walk(region)
            if node.op == "const"
        }
        run = side.follow(parting.tape, values, steps=parting.step, keep=True)
        for moment in run.moments:
            found = (value for id, value in moment.values.items() if id not in given)
            if not all(_is_finite(value) for value in found):
                return True
    return False


def _is_finite(value: Any) -> bool:
    tensors = value if isinstance(value, list) else [value]
    numbers = [x for x in tensors if isinstance(x, float | np.ndarray | np.floating)]
    return all(bool(np.isfinite(x).all()) for x in numbers)


# ---- on tapes


def _on_tapes(a: Side, b: Side, matched: Matched, seed: int, steps: int) -> Verdict:
    together: list[Together] = []
    refused: dict[str, str] = {}
    tapes = [tape(seed + offset, tree, steps) for tree, offset in TAPES]
    for setting, taped in product(matched.settings(seed, DRAWS), tapes):
        try:
            found = compare(a, b, taped, setting)
        except UnfitError as error:
            refused.setdefault(str(error), _refusal(a, b, taped, setting))
            continue
        if isinstance(found, Parting):
            draw = _both_draw(a, b)
            reason = "both draw random fields, each its own" if draw else ""
            verdict = Verdict(a, b, None if draw else False, reason=reason, parting=found)
            break
        together.append(found)
    else:
        verdict = Verdict(a, b, True)
        if not any(found.steps > 1 for found in together):
            reasons = [*refused, *(found.reason for found in together)]
            verdict = Verdict(a, b, None, reason=reasons[0])
    notes = tuple(note for note in refused.values() if note and verdict.same is not None)
    return replace(verdict, together=tuple(together), notes=notes)


def _refusal(a: Side, b: Side, taped: Tape, setting: Setting) -> str:
    """That one side alone refuses a tape, and why, in words; empty where both do."""
    refusals = []
    for side, values in ((a, setting.a), (b, setting.b)):
        try:
            side.follow(taped, values, steps=1)
        except UnfitError as error:
            refusals.append(f"{side.name} alone refuses some weights of the tapes: {error}")
    return refusals[0] if len(refusals) == 1 else ""


def _parting_late(a: Side, b: Side, setting: Setting) -> Parting | None:
    """Where fresh states of both sides, if of specs, part within a few steps of a late start.

    No run has fresh states then, so this is no proof that they differ, but for a start at 0.
    """
    sides = (a, b)
    # What counts for itself, as optax does, cannot be told to start late.
    if not all(isinstance(side, Program) and side.extern is None for side in sides):
        return None
    for done in LATE:
        try:
            found = compare(a, b, replace(tape(0, "tiny", 3), done=done), setting)
        except UnfitError:
            return None
        if isinstance(found, Parting) and not found.evaluation:
            return found
    return None


def _both_draw(a: Side, b: Side) -> bool:
    return all(isinstance(side, Program) and side.draws for side in (a, b))


# ---- proofs


def _is_proved(a: Side, b: Side, ours: Mapping[str, Term], theirs: Mapping[str, Term]) -> bool:
    """Whether the normal forms agree, for all values of what is left free."""
    if not isinstance(a, Program) or not isinstance(b, Program):
        return False
    return same_map(substituted(a.graph, ours), b.graph, theirs)


# ---- maps


def _maps(a: Side, b: Side, set_a: Values, set_b: Values, seed: int, steps: int) -> Iterator[Found]:
    """Verified maps: of A's parameters, of B's, and then those where some are held."""
    budget = Budget()
    for holding in (False, True):
        for one, other, held, given in ((a, b, set_a, set_b), (b, a, set_b, set_a)):
            candidates = search(one, other, held, given, budget, holding=holding)
            for each in islice(candidates, CANDIDATES):
                found = _verified(one, other, each, held, given, seed, steps)
                if found is not None:
                    yield found
                    break


def _verified(
    a: Side, b: Side, map: ParameterMap, held: Values, given: Values, seed: int, steps: int
) -> Found | None:
    kept = {**held, **map.fixed}
    free = [h for h in a.hyperparameters if h.name not in kept]
    evaluates, followed = True, 0
    for number in range(DRAWS):
        ours, theirs = map.values({**drawn(free, 100 * seed + number), **kept})
        setting = Setting(ours, {**given, **theirs}, "")
        for tree, offset in TAPES:
            try:
                found = compare(a, b, tape(seed + offset, tree, steps), setting)
            except UnfitError:
                continue
            if isinstance(found, Together):
                followed += found.steps
            elif found.evaluation:
                followed, evaluates = followed + steps, False
            else:
                return None
    if followed < steps:
        return None  # too little was seen of it
    rest = {h.name: h.default for h in b.hyperparameters if h.derived is None}
    terms = {**literals(known(rest)), **literals(given), **map.given}
    proved = _is_proved(a, b, literals(kept), terms)
    if not proved and _parting_late(a, b, setting) is not None:
        return None
    return Found(a.name, b.name, map, proved, evaluates)
