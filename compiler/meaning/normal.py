"""The normal form of a graph: what it computes, apart from how it is written.

Every value of the graph becomes a formula of `algebra` (`formulas` says how). States have no names:
two states are one when they start alike and are written alike, given that states which are one are
equal. So the states of two programs correspond where the programs do, whatever they are called and
however often one is kept. A state that always keeps the number that it starts with is that number.

Equal normal forms mean equal maps over the reals, wherever nothing that either works out is
undefined: for all weights, objectives, tensors and hyperparameters, the latter matched by name.
That two of some thousand formulas look alike has a chance below 2^-100 (see `algebra`). Different
normal forms mean nothing: the maps may still be equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ..graph import Graph
from ..passes.dead_code import dead_code
from ..records import Hyperparameter, Term
from .algebra import Algebra
from .forms import Formula
from .formulas import Formulas
from .prime import prime_above
from .values import NONNEGATIVE, Value

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
    """The normal form of a graph, as it was lowered.

    Passes keep it, but for `gram`, whose op has no form, and `diagonal`, which takes products of
    matrices apart into sums. `parameters` are terms for hyperparameters. They may speak of others:
    of the same program, or of one that this is compared with, whose declarations are then `known`.
    Only normal forms of equal algebras can be compared.
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
    modulus = prime_above(int(salt, 16) | 1 << 255)
    # Equal algebras, and not one: its values know states by their numbers in one program.
    one = normal_form(left, known=right.hyperparameters, algebra=Algebra(salt, modulus))
    other = normal_form(right, parameters, left.hyperparameters, Algebra(salt, modulus))
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
        """The normal form.

        All states are refined, and then those that count are looked at: which they are is sure
        only when it is known which states are one. The rounds until none of *them* was split are
        those of every program that is the same map.
        """
        invariants = self._invariants()
        classes = [
            _hash(slot.dtype, str(form), start.key, n in invariants.nonnegative)
            for n, (slot, (start, form)) in enumerate(zip(self.slots, self.starts, strict=True))
        ]
        rounds, steps = [classes], []
        while len(rounds) < 2 or len(set(rounds[-1])) > len(set(rounds[-2])):
            step = self.formulas.step(self._states(rounds[-1], invariants))
            steps.append(step)
            pairs = zip(rounds[-1], step.slots, strict=True)
            rounds.append([_hash(name, x.key) for name, x in pairs])
        live = _live((step.weights, step.evaluation, step.applied), step.slots)
        kept = {rounds[-1][n] for n in live}
        members = [n for n, name in enumerate(rounds[-1]) if name in kept]
        counts = [len({names[n] for n in members}) for names in rounds]
        enough = next(r for r in range(len(steps)) if counts[r] == counts[r + 1])
        step, refined = steps[enough], rounds[enough + 1]
        weights, evaluation, applied = map(_digest, (step.weights, step.evaluation, step.applied))
        # That no class was split makes the classes of equal digests correspond.
        classes = sorted({refined[n] for n in members})
        return Normal(
            _hash("map", enough, classes, weights, evaluation, applied),
            weights,
            evaluation,
            applied,
            tuple(refined[n] if n in members else "" for n in range(len(self.slots))),
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
