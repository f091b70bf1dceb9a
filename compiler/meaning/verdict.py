"""Whether two optimizers are the same map: on tapes, by normal form, and by parameter maps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from ..graph import walk
from ..ops import ASKED
from ..records import Hyperparameter, Scalar, Term
from .blame import Blame, blame
from .compare import Parting, Setting, Together, compare
from .maps import Budget, ParameterMap, search
from .normal import same_map
from .side import Program, Side, Values, drawn, shared
from .substitute import substituted
from .tapes import TreeName, tape
from .trajectory import UnfitError

TAPES: Sequence[tuple[TreeName, int]] = (("layers", 0), ("ranks", 1), ("positive", 2))
"""The tree of each tape that is followed, and what is added to the seed."""

LATE = (100, 1000, 10_000, 100_000)
"""The counts at which fresh states are started too, since tapes are short and schedules long."""

DRAWS = 3
"""How often hyperparameters are drawn, beside their defaults."""

CANDIDATES = 8
"""How many maps of one kind that hold on the small tape are tried on the others."""


@dataclass(frozen=True)
class Found:
    """A map that was verified: `name` is `of` with these parameters.

    `proved` is whether the normal forms agree; without `evaluates` the weights to evaluate with
    differ all the same.
    """

    name: str
    of: str
    map: ParameterMap
    proved: bool
    evaluates: bool


@dataclass(frozen=True, eq=False)
class Verdict:
    """What was found out about two sides.

    `same` is None where it is not decided, for the `reason`. `together` are the tapes on which
    they stayed together.
    """

    a: Side
    b: Side
    same: bool | None
    proved: bool = False
    reason: str = ""
    together: tuple[Together, ...] = ()
    parting: Parting | None = None
    blame: Blame | None = None
    maps: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Matched:
    """Hyperparameters that both have by the same name, and values of the others of each side."""

    both: tuple[Hyperparameter, ...]
    a: Mapping[str, Scalar] = field(default_factory=dict)
    b: Mapping[str, Scalar] = field(default_factory=dict)


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
    matched = _matched(a, b, set_a or {}, set_b or {})
    notes = tuple(_notes(a, b, matched, set_a or {}, set_b or {}))
    valued = {h.name for h in matched.both if h.default is not None}
    missing = [
        f"`{h.name}` of {side.name} has no default; give it a value"
        for side, own in ((a, matched.a), (b, matched.b))
        for h in side.hyperparameters
        if h.default is None and h.name not in own and h.name not in valued
    ]
    if missing:
        return Verdict(a, b, None, reason=missing[0], notes=notes)
    proved = _is_proved(a, b, _held(matched.a), _held(matched.b))
    verdict = replace(_on_tapes(a, b, matched, seed, steps), notes=notes)
    if proved:
        return _proved(verdict)
    if verdict.same and (late := _parts_late(a, b, _defaults(matched))) is not None:
        note = f"with fresh states at step {late + 1} they part: later steps than the tapes' matter"
        verdict = replace(verdict, notes=(*notes, note))
    if verdict.same is False and verdict.parting is not None:
        verdict = replace(verdict, blame=blame(a, b, verdict.parting))
    if verdict.same is False and maps:
        found = _maps(a, b, set_a or {}, set_b or {}, seed, steps)
        verdict = replace(verdict, maps=tuple(islice(found, 1)))
    return verdict


def _proved(verdict: Verdict) -> Verdict:
    """The verdict where the normal forms agree, which tapes support and do not decide."""
    notes = verdict.notes
    if (parting := verdict.parting) is not None:
        far = f"{parting.apart:.1e} apart after step {parting.step}"
        notes = (*notes, f"in float64 they are {far}, {parting.setting.words}, by rounding alone")
    return replace(verdict, same=True, proved=True, parting=None, reason="", notes=notes)


# ---- hyperparameters


def _matched(a: Side, b: Side, set_a: Values, set_b: Values) -> _Matched:
    theirs = {h.name: h for h in b.hyperparameters}
    both = []
    for each in a.hyperparameters:
        other = theirs.get(each.name)
        if other is None or each.name in set_a or each.name in set_b:
            continue
        together = shared(each, other)
        if together is not None:
            default = each.default if each.default is not None else other.default
            both.append(replace(together, default=default))
    names = {h.name for h in both}
    ours, others = (
        {
            h.name: given.get(h.name, h.default)
            for h in side.hyperparameters
            if h.name not in names and (h.name in given or h.derived is None)
        }
        for side, given in ((a, set_a), (b, set_b))
    )
    return _Matched(tuple(both), _known(ours), _known(others))


def _known(values: Mapping[str, Scalar | None]) -> dict[str, Scalar]:
    return {name: value for name, value in values.items() if value is not None}


def _notes(a: Side, b: Side, matched: _Matched, set_a: Values, set_b: Values) -> Iterator[str]:
    theirs = {h.name: h for h in b.hyperparameters}
    for each in matched.both:
        other = theirs[each.name].default
        if other is not None and other != each.default:
            yield (
                f"`{each.name}` is {_shown(each.default)} in {a.name} and {_shown(other)} in "
                f"{b.name} by default; both have one value here"
            )
    for side, own, given in ((a, matched.a, set_a), (b, matched.b, set_b)):
        kept = [f"{name} = {_shown(value)}" for name, value in own.items() if name not in given]
        if kept:
            yield f"{side.name} alone has {', '.join(kept)}: kept"
    for side in (a, b) if a is not b else (a,):
        narrow = _narrow(side) if isinstance(side, Program) else ()
        if narrow:
            yield f"{side.name} keeps {', '.join(narrow)}, which is left out of account"
    if isinstance(a, Program) and isinstance(b, Program):
        ours, others = _asked(a), _asked(b)
        for side, more in ((a, ours - others), (b, others - ours)):
            if more:
                yield f"{side.name} alone asks for {', '.join(sorted(more))}"


def _shown(value: Scalar | None) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _narrow(program: Program) -> list[str]:
    """The states that are rounded when they are kept; rounding to whole numbers is followed."""
    slots = [slot for slot in program.graph.slots if slot.dtype not in (None, "int8")]
    return [f"`{slot.name}` in {slot.dtype}" for slot in slots]


def _asked(program: Program) -> set[str]:
    return {node.op for node in walk(program.graph.step) if node.op in ASKED}


# ---- on tapes


def _on_tapes(a: Side, b: Side, matched: _Matched, seed: int, steps: int) -> Verdict:
    together: list[Together] = []
    refused: list[str] = []
    for setting in _settings(matched, seed):
        for tree, offset in TAPES:
            try:
                found = compare(a, b, tape(seed + offset, tree, steps), setting)
            except UnfitError as error:
                refused.append(str(error))
                continue
            if isinstance(found, Together):
                together.append(found)
                continue
            same = None if _both_draw(a, b) else False
            reason = "" if same is False else "both draw random fields, each its own"
            return Verdict(a, b, same, reason=reason, together=tuple(together), parting=found)
    if not any(found.steps > 1 for found in together):
        reasons = [*refused, *(found.reason for found in together)]
        return Verdict(a, b, None, reason=reasons[0], together=tuple(together))
    return Verdict(a, b, True, together=tuple(together))


def _settings(matched: _Matched, seed: int) -> Iterator[Setting]:
    yield _defaults(matched)
    defaults = _known({h.name: h.default for h in matched.both})
    for number in range(DRAWS if matched.both else 0):
        values = {**defaults, **drawn(matched.both, 100 * seed + number)}
        words = ", ".join(f"{name} = {_brief(value)}" for name, value in values.items())
        yield Setting({**matched.a, **values}, {**matched.b, **values}, f"at {words}")


def _defaults(matched: _Matched) -> Setting:
    values = _known({h.name: h.default for h in matched.both})
    return Setting({**matched.a, **values}, {**matched.b, **values}, "at the defaults")


def _parts_late(a: Side, b: Side, setting: Setting) -> int | None:
    """The steps after which fresh states of both sides, if of specs, part within a few more.

    No run has fresh states then, so this is no proof that they differ.
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
            return done
    return None


def _brief(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _shown(value)


def _both_draw(a: Side, b: Side) -> bool:
    return all(isinstance(side, Program) and side.draws for side in (a, b))


# ---- proofs


def _is_proved(a: Side, b: Side, ours: Mapping[str, Term], theirs: Mapping[str, Term]) -> bool:
    """Whether the normal forms agree, for all values of what is left free."""
    if not isinstance(a, Program) or not isinstance(b, Program):
        return False
    return same_map(substituted(a.graph, ours), b.graph, theirs)


def _held(values: Values) -> dict[str, Term]:
    return {name: Term("literal", (value,)) for name, value in values.items()}


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
    terms = {**_held(_known(rest)), **_held(given), **map.given}
    proved = _is_proved(a, b, _held(kept), terms)
    if not proved and _parts_late(a, b, setting) is not None:
        return None
    return Found(a.name, b.name, map, proved, evaluates)
