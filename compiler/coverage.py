"""Groups that can take no tensor, whatever the weights are: decided over small worlds.

A world is what a predicate can tell of a tensor: representative shapes, and a truth value for
each question about its path or dtype. Worlds that no tensor has are among them, so a group
that takes nothing in all of them takes nothing at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, Severity, declare
from .ops import OPS
from .records import Scalar, Term

EMPTY_GROUP = declare(
    "empty-group",
    "a group that no tensor can be in",
    """
    The predicate of the group contradicts itself, so that no weight tensor of any model matches.

        group matrices where ndim >= 2 and ndim < 2 { ... }
    """,
    Severity.WARNING,
)
HIDDEN_GROUP = declare(
    "hidden-group",
    "a group whose tensors all fall into earlier groups",
    """
    Groups are tried in order, and each tensor goes to the first that takes it. What this group
    would take, the groups before it take already, whatever the weights are. Put the narrower
    group first.

        group matrices where ndim >= 2 { ... }
        group heads    where ndim == 3 { ... }     # never reached
    """,
    Severity.WARNING,
)

_SHAPE = ("ndim", "size", "rows", "cols")

MAX_WORLDS = 20_000
"""Predicates that need more worlds than this are left undecided."""


@dataclass(frozen=True)
class _World:
    shape: Mapping[str, int]
    answers: Mapping[Term, bool]


def check(
    term: Term,
    taken: Sequence[Term],
    group: syntax.Group,
    groups: Sequence[syntax.Group],
    report: Diagnostics,
) -> None:
    """Warn of a group with predicate `term` that can take nothing after those of `taken`."""
    assert group.where is not None
    worlds = _worlds((term, *taken))
    if worlds is None:
        return
    wanted = [world for world in worlds if _holds(term, world)]
    if not wanted:
        message = f"the group `{group.name.id}` can match no tensor"
        report.add(EMPTY_GROUP.at(group.where.span, message, label="contradicts itself"))
        return
    takers = [place for place, t in enumerate(taken) if any(_holds(t, w) for w in wanted)]
    if all(any(_holds(taken[place], world) for place in takers) for world in wanted):
        others = tuple(Label(groups[p].name.span, "takes some of its tensors") for p in takers)
        if len(takers) == 1:
            others = (Label(groups[takers[0]].name.span, "takes all of its tensors"),)
        message = f"no tensor is left for the group `{group.name.id}`"
        help = "put the narrower group first"
        report.add(HIDDEN_GROUP.at(group.where.span, message, help=help, others=others))


def implies(premises: Sequence[Term], conclusion: Term) -> bool:
    """Whether `conclusion` is sure for each tensor for which all `premises` hold."""
    worlds = _worlds((*premises, conclusion))
    if worlds is None:
        return False
    return all(_holds(conclusion, w) for w in worlds if all(_holds(p, w) for p in premises))


def bounds(shares: Sequence[tuple[Term, float]], never: Sequence[Term] = ()) -> tuple[float, float]:
    """The least and the most that a tensor gets, which has a share where its condition holds.

    There are no tensors for which a condition of `never` holds.
    """
    conditions = [condition for condition, _ in shares]
    worlds = _worlds((*conditions, *never))
    if worlds is None:
        return 0.0, sum(share for _, share in shares)
    allowed = [world for world in worlds if not any(_holds(each, world) for each in never)]
    totals = [sum(s for c, s in shares if _holds(c, world)) for world in allowed or worlds]
    return min(totals), max(totals)


# ---- worlds


def _worlds(terms: Sequence[Term]) -> list[_World] | None:
    """Every world that the terms can tell apart, and perhaps more; None if there are too many."""
    literals: dict[str, set[float]] = {name: set() for name in _SHAPE}
    opaque: dict[Term, None] = {}
    for term in terms:
        for atom in _atoms(term):
            if (compared := _shape_atom(atom)) is not None:
                literals[compared[0]].add(compared[1])
            else:
                opaque[atom] = None
    # A rank above 1 is there even if no predicate speaks of ranks: `rows` needs it.
    literals["ndim"] |= {2}
    values = {name: _representatives(literals[name]) for name in _SHAPE}
    count = 2 ** len(opaque)
    for name in _SHAPE:
        count *= len(values[name])
    if count > MAX_WORLDS:
        return None
    answers = [
        dict(zip(opaque, a, strict=True)) for a in product((True, False), repeat=len(opaque))
    ]
    return [_World(shape, a) for shape in _shapes(values) for a in answers]


def _shapes(values: Mapping[str, Sequence[int]]) -> Iterator[dict[str, int]]:
    """What tensors of each rank can have. The size is free of rows and cols: that only adds."""
    for ndim in values["ndim"]:
        rows = values["rows"] if ndim >= 2 else (1,)
        cols = values["cols"] if ndim >= 1 else (1,)
        sizes = values["size"] if ndim >= 1 else (1,)
        for row, col, size in product(rows, cols, sizes):
            yield {"ndim": ndim, "size": size, "rows": row, "cols": col}


def _representatives(literals: set[float]) -> list[int]:
    """A number in each gap between the literals, from 0 up, and the literals themselves.

    Without literals any number will do.
    """
    if not literals:
        return [1]
    near = {int(x) + step for x in literals if abs(x) < 1e15 for step in (-1, 0, 1)}
    return sorted(n for n in {0, 1, *near} if n >= 0)


def _atoms(term: Term) -> Iterator[Term]:
    if term.op in ("and", "or", "not"):
        for inner in term.terms:
            yield from _atoms(inner)
    elif term.op != "literal":
        yield term


def _shape_atom(term: Term) -> tuple[str, float] | None:
    """The property and the literal that a comparison is about, where it is about a number."""
    names = [t.op for t in term.terms if t.op in _SHAPE]
    numbers = [t.arguments[0] for t in term.terms if t.op == "literal"]
    if len(names) != 1 or len(numbers) != 1:
        return None
    (number,) = numbers
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return (names[0], float(number)) if is_number and isinstance(number, int | float) else None


def _holds(term: Term, world: _World) -> bool:
    return bool(_value(term, world))


def _value(term: Term, world: _World) -> Scalar:
    if term in world.answers:
        return world.answers[term]
    if term.op == "literal":
        (value,) = term.arguments
        assert not isinstance(value, Term)
        return value
    if term.op in _SHAPE:
        return world.shape[term.op]
    meaning = OPS[term.op].scalar
    assert meaning is not None
    result: Scalar = meaning(*(_value(t, world) for t in term.terms))
    return result
