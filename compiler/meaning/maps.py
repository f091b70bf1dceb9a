"""Parameter maps: what to give one optimizer so that it is another, where that is simple.

A parameter of B is a parameter of A, 0, 1, its default, or one of 1 - p, 1 / p, p * q, p / q,
p * (1 - q), p / (1 - q); a parameter of A may be held at 0 or 1, where the map exists only there.
The search follows B on a tape of few tensors and steps. Parameters that act in the first step are
settled first, by that step alone, then those that act in the second, and so on; simple maps come
before others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations, product

import numpy as np

from ..constants import value_of
from ..records import Hyperparameter, Scalar, Term
from .side import Side, Values, admits, drawn
from .tapes import Array, tape
from .trajectory import UnfitError

RUNS = 300
"""How often B is followed while all of A's parameters are free."""

RUNS_HELD = 50
"""How often for each choice of parameters of A that are held."""

RUNS_IN_ALL = 1600
"""How often in all searches that share a budget: a second or so for a small program."""

DEAREST = 4
"""Maps that cost more, all together, are not looked for."""

STEPS = 3

CLOSE = 1e-9
"""Weights count as equal where they differ by less than this part: candidates are verified."""


@dataclass(frozen=True)
class ParameterMap:
    """B is A when its parameters are given these terms over A's, and A's `fixed` have those values.

    What `given` leaves out has its default.
    """

    given: Mapping[str, Term]
    fixed: Mapping[str, Scalar] = field(default_factory=dict)

    def values(self, a: Values) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
        """The values of A and those of B, for values of what is free in A."""
        ours = {**a, **self.fixed}
        return ours, {name: value_of(each, ours) for name, each in self.given.items()}

    def shown(self, name: str) -> str:
        """As a call: `lion(b1 = beta, b2 = beta, lr = lr)`."""
        return f"{name}({', '.join(f'{n} = {term_text(t)}' for n, t in self.given.items())})"


def literals(values: Values) -> dict[str, Term]:
    """Values as terms."""
    return {name: Term("literal", (value,)) for name, value in values.items()}


def term_text(term: Term) -> str:
    """A term of a map as a spec would say it."""
    if term.op in ("parameter", "literal"):
        value = term.arguments[0]
        return str(value).lower() if isinstance(value, bool) else f"{value}"
    texts = [term_text(each) for each in term.terms]
    left, right = (
        f"({text})" if each.op == "sub" else text
        for each, text in zip(term.terms, texts, strict=True)
    )
    return f"{left} {_SYMBOLS[term.op]} {right}"


_SYMBOLS = {"sub": "-", "mul": "*", "div": "/"}


@dataclass
class Budget:
    """How often programs may still be followed."""

    runs: int = RUNS_IN_ALL

    def follow(self, side: Side, values: Values, seed: int, steps: int) -> list[Array] | None:
        """The steps in one vector each; None where there are none."""
        self.runs -= 1
        taped = tape(seed, "tiny", STEPS)
        try:
            moments = side.follow(taped, values, steps=steps).moments
        except (UnfitError, ArithmeticError):
            return None
        return [np.concatenate([np.ravel(x) for x in moment.weights]) for moment in moments]


def search(
    a: Side, b: Side, held: Values, other: Values, left: Budget, *, holding: bool
) -> Iterator[ParameterMap]:
    """Maps that hold on the small tape, simple ones first, each to be verified.

    `held` and `other` are values of A and B that the caller has fixed. With `holding` parameters of
    A are held at 0 or 1, and without it none. `left` is used up.
    """
    free = [h for h in a.hyperparameters if h.name not in held and h.default is not None]
    for fixed in _fixings(free) if holding else [{}]:
        budget = Budget(min(left.runs, RUNS_HELD if fixed else RUNS))
        left.runs -= budget.runs
        rest = [h for h in free if h.name not in fixed]
        dearest = 2 if fixed else DEAREST
        for found in _search(a, b, rest, {**held, **fixed}, other, dearest, budget):
            yield ParameterMap(found, fixed)
        left.runs += max(budget.runs, 0)
        if left.runs <= 0:
            return


def _fixings(free: Sequence[Hyperparameter]) -> Iterator[dict[str, Scalar]]:
    """One of A's parameters held, then two, at 0 or 1 where the range has them."""
    for count in (1, 2):
        for names in combinations([h for h in free if h.kind in ("float", "int")], count):
            for values in product((0, 1), repeat=count):
                pairs = list(zip(names, values, strict=True))
                if all(admits(h, value) for h, value in pairs):
                    yield {h.name: value for h, value in pairs}


def _search(
    a: Side,
    b: Side,
    free: Sequence[Hyperparameter],
    held: Values,
    other: Values,
    dearest: int,
    budget: Budget,
) -> Iterator[dict[str, Term]]:
    """Maps of the free parameters of A."""
    ours = {**drawn(free, 1), **held}
    expected = budget.follow(a, ours, 0, STEPS)
    if expected is None or _equal(expected[0], expected[-1]):
        return  # what stays where it is equals too much
    asked = [h for h in b.hyperparameters if h.name not in other]
    candidates = {h.name: _candidates(h, free, ours) for h in asked}
    start = {**{n: value_of(cs[0][1], ours) for n, cs in candidates.items() if cs}, **other}
    acts = _acts(b, asked, start, budget)

    def settle(step: int, known: dict[str, Term]) -> Iterator[dict[str, Term]]:
        if step > STEPS:
            yield known
            return
        names = [name for name, first in acts.items() if first == step]
        for terms in _by_cost([candidates[name] for name in names], dearest):
            if budget.runs <= 0:
                return
            more = known | dict(zip(names, terms, strict=True))
            values = {**start, **{n: value_of(t, ours) for n, t in more.items()}}
            found = budget.follow(b, values, 0, step)
            if found is not None and _equal(found[step - 1], expected[step - 1]):
                yield from settle(step + 1, more)

    # What no step of the tape shows has the value of its name, or its default.
    quiet = [h for h in asked if h.name not in acts and candidates[h.name]]
    for found in settle(1, {h.name: candidates[h.name][0][1] for h in quiet}):
        yield {h.name: found[h.name] for h in asked if h.name in found and not _plain(h, found)}


def _plain(parameter: Hyperparameter, found: Mapping[str, Term]) -> bool:
    """Whether a map gives a parameter its default."""
    term = found[parameter.name]
    return term.op == "literal" and term.arguments[0] == parameter.default


def _acts(
    b: Side, asked: Sequence[Hyperparameter], start: Values, budget: Budget
) -> dict[str, int]:
    """The first step that each parameter changes, from generic values."""
    generic = {**start, **drawn(asked, 2)}
    base = budget.follow(b, generic, 0, STEPS)
    acts: dict[str, int] = {}
    for each in asked:
        for seed in (3, 4):
            changed = {**generic, **drawn([each], seed)}
            if changed[each.name] == generic[each.name]:
                continue
            other = budget.follow(b, changed, 0, STEPS)
            if base is None or other is None:
                acts[each.name] = 1
                break
            pairs = enumerate(zip(base, other, strict=True), 1)
            first = next((n for n, (x, y) in pairs if not np.array_equal(x, y)), None)
            if first is not None:
                acts[each.name] = min(first, acts.get(each.name, first))
                break
    return acts


def _candidates(
    wanted: Hyperparameter, free: Sequence[Hyperparameter], ours: Values
) -> list[tuple[int, Term]]:
    """What a parameter of B may be, with its cost, simplest first."""
    found: list[tuple[int, Term]] = []
    numeric = [h for h in free if h.kind in ("float", "int")]
    if wanted.default is not None:
        found.append((1, Term("literal", (wanted.default,))))
    for each in free:
        if each.kind == wanted.kind or (wanted.kind == "float" and each.kind == "int"):
            found.append((int(each.name != wanted.name), Term("parameter", (each.name,))))
    if wanted.kind == "bool":
        found += [(1, Term("literal", (value,))) for value in (True, False)]
    if wanted.kind in ("float", "int"):
        found += [(1, Term("literal", (value,))) for value in (0, 1) if value != wanted.default]
    if wanted.kind == "float":
        one = Term("literal", (1,))
        terms = [Term("parameter", (h.name,)) for h in numeric]
        found += [(2, Term("sub", (one, x))) for x in terms]
        found += [(3, Term("div", (one, x))) for x in terms]
        found += [(3, Term("mul", pair)) for pair in combinations(terms, 2)]
        pairs = list(permutations(terms, 2))
        found += [(3, Term("div", pair)) for pair in pairs]
        found += [(4, Term("mul", (x, Term("sub", (one, y))))) for x, y in pairs]
        found += [(4, Term("div", (x, Term("sub", (one, y))))) for x, y in pairs]
    fitting = [(cost, each) for cost, each in found if _fits(wanted, each, ours)]
    return sorted(fitting, key=lambda pair: pair[0])


def _fits(wanted: Hyperparameter, term: Term, ours: Values) -> bool:
    try:
        return admits(wanted, value_of(term, ours))
    except (ArithmeticError, KeyError):
        return False


def _by_cost(
    choices: Sequence[Sequence[tuple[int, Term]]], dearest: int
) -> Iterator[tuple[Term, ...]]:
    """One of each, all those of a smaller total cost before those of a larger."""
    for total in range(dearest + 1):
        yield from _of_cost(choices, total)


def _of_cost(
    choices: Sequence[Sequence[tuple[int, Term]]], total: int
) -> Iterator[tuple[Term, ...]]:
    if not choices:
        if total == 0:
            yield ()
        return
    for cost, each in choices[0]:
        if cost <= total:
            for rest in _of_cost(choices[1:], total - cost):
                yield (each, *rest)


def _equal(one: Array, other: Array) -> bool:
    if not np.isfinite(one).all() or not np.isfinite(other).all():
        return False
    return bool(np.abs(one - other).max() <= CLOSE * np.abs(one).max())
