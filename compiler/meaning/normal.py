"""The normal form of a graph: what it computes, apart from how it is written.

Every value of the graph becomes a formula of `algebra` (`formulas` says how). States have no names:
two states are one when they start alike and are written alike, given that states which are one are
equal. So the states of two programs correspond where the programs do, whatever they are called and
however often one is kept. A state that always keeps the number that it starts with is that number.

Equal normal forms mean equal maps over the reals, wherever both are defined: for all weights,
objectives, tensors and hyperparameters, the latter matched by name. Different normal forms mean
nothing: the maps may still be equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ..graph import Graph
from ..passes.dead_code import dead_code
from ..records import Hyperparameter, Term
from .algebra import NONNEGATIVE, Algebra, Value
from .formulas import Formula, Formulas
from .prime import prime_above

_NONE: Mapping[str, Term] = {}


@dataclass(frozen=True)
class Normal:
    """What a program computes. Two with one `digest` train alike, whatever they report or keep.

    `digest` is that of the weights after a step, the weights to evaluate with and whether a step
    counts, for the states that these depend on. The others say where two programs differ: digests
    of these three, of each slot (empty where nothing that counts depends on it) and of what is
    reported, by name.
    """

    digest: str
    weights: str
    evaluation: str
    applied: str
    slots: tuple[str, ...]
    observed: tuple[tuple[str, str], ...]


def normal_form(
    graph: Graph,
    parameters: Mapping[str, Term] = _NONE,
    known: Sequence[Hyperparameter] = (),
    algebra: Algebra | None = None,
) -> Normal:
    """The normal form of a graph, before or after passes.

    `parameters` are terms for hyperparameters. They may speak of others: of the same program, or
    of one that this is compared with, whose declarations are then `known`. Only normal forms of
    equal algebras can be compared.
    """
    algebra = algebra or Algebra()
    return _States(dead_code(graph), parameters, known, algebra).normal()


def same_map(left: Graph, right: Graph, parameters: Mapping[str, Term] = _NONE) -> bool:
    """Whether two graphs surely are one map; `parameters` are terms for those of the second.

    This is more than comparing digests: the point at which formulas are compared is chosen after
    both are known, so that nobody can have written a program for it.
    """
    given = repr(sorted(parameters.items()))
    texts = left.model_dump_json(), right.model_dump_json(), given
    salt = sha256(repr(texts).encode()).hexdigest()
    algebra = Algebra(salt, prime_above(int(salt, 16) | 1 << 255))
    one = normal_form(left, known=right.hyperparameters, algebra=algebra)
    other = normal_form(right, parameters, left.hyperparameters, algebra)
    return one.digest == other.digest


@dataclass(frozen=True)
class _Invariants:
    """What is true of states at every step: that they are a number, or never negative."""

    fixed: Mapping[int, Value]
    nonnegative: frozenset[int]


class _States:
    """Finds which states of a program are one, by refining classes until a step splits none."""

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Term],
        known: Sequence[Hyperparameter],
        algebra: Algebra,
    ) -> None:
        self.slots = graph.slots
        self.formulas = Formulas(graph, parameters, known, algebra)
        self.algebra = algebra
        self.starts = [(x.value, x.form) for x in self.formulas.starts()]

    def normal(self) -> Normal:
        """The normal form."""
        invariants = self._invariants()
        classes = [
            _hash(self.slots[n].dtype, str(form), start.key, n in invariants.nonnegative)
            for n, (start, form) in enumerate(self.starts)
        ]
        rounds = 0
        while True:
            step = self.formulas.step(self._states(classes, invariants))
            live = _live((step.weights, step.evaluation, step.applied), step.slots)
            refined = [_hash("slot", c, x.key) for c, x in zip(classes, step.slots, strict=True)]
            if len({refined[n] for n in live}) == len({classes[n] for n in live}):
                break
            classes = refined
            rounds += 1
        # That no class was split makes the classes of equal digests correspond.
        kept = sorted({refined[n] for n in live})
        weights, evaluation, applied = map(_digest, (step.weights, step.evaluation, step.applied))
        return Normal(
            _hash("map", rounds, kept, weights, evaluation, applied),
            weights,
            evaluation,
            applied,
            tuple(refined[n] if n in live else "" for n in range(len(self.slots))),
            tuple((name, _digest(x)) for name, x in step.observed),
        )

    def _states(self, names: Sequence[str], invariants: _Invariants) -> list[Formula]:
        """The states as a step reads them: atoms of the given names, or what is known of them."""
        found = []
        for n, (start, form) in enumerate(self.starts):
            state = invariants.fixed.get(n)
            if state is None:
                facts = NONNEGATIVE if n in invariants.nonnegative else 0
                is_scalar = not self.slots[n].type.is_field
                if self.slots[n].type.dtype == "bool":
                    state = self.algebra.condition("state", names[n], scalar=is_scalar, uses=[n])
                else:
                    state = self.algebra.atom(
                        "state",
                        names[n],
                        scalar=is_scalar,
                        uses=[n],
                        wild=start.wild,
                        facts=facts,
                    )
            found.append(Formula(state, form))
        return found

    def _invariants(self) -> _Invariants:
        """By induction: all are assumed, and those that a step breaks are given up until none is.

        Hyperparameters may change between steps, so what a state starts as is a number or nothing.
        """
        fixed = {
            n: start
            for n, (start, _) in enumerate(self.starts)
            if start.number is not None and (start.number == 0 or self.slots[n].dtype is None)
        }
        positive = {n for n, (x, _) in enumerate(self.starts) if self.algebra.is_(x, NONNEGATIVE)}
        for attempt in range(2 * len(self.starts) + 2):
            names = [f"{n} of attempt {attempt}" for n in range(len(self.starts))]
            found = _Invariants(fixed, frozenset(positive))
            step = self.formulas.step(self._states(names, found))
            broken = {n for n in fixed if step.slots[n].key != fixed[n].key}
            negative = {n for n in positive if not self.algebra.is_(step.slots[n], NONNEGATIVE)}
            if not broken and not negative:
                return found
            fixed = {n: start for n, start in fixed.items() if n not in broken}
            positive -= negative
        return _Invariants({}, frozenset())


def _live(results: Sequence[Value], updates: Sequence[Value]) -> list[int]:
    """The states that the results depend on, at this step or a later one."""
    live: set[int] = set()
    todo = {n for x in results for n in x.uses}
    while todo:
        live |= todo
        todo = {n for state in todo for n in updates[state].uses} - live
    return sorted(live)


def _digest(x: Value) -> str:
    return _hash(x.key)


def _hash(*parts: object) -> str:
    return sha256(repr(parts).encode()).hexdigest()
