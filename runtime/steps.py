"""What a program does with weights: it makes a state, steps, and evaluates, jitted or not."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from .border import apart, enter, leave, next_weights, read, reported
from .devices import along, are_shared, on_their_mesh, placed_like
from .executables import Results
from .field import Field
from .functions import Functions
from .gradients import applied
from .hyperparameters import Value, as_scalar
from .lifting import Kinds, Lifting, lifted, packed
from .multi_output import unknown
from .needs import check_batch, check_inputs, check_objective
from .objective import Beside, Objective
from .oracles import Given, Oracles
from .random import key_data, model_key, wrap_key
from .skeleton import Skeleton, built, skeleton
from .state import Layout, Outcome, Report, Slots, State
from .tree import PyTree, Tree

Init: TypeAlias = Callable[[Field, Mapping[str, Value]], Slots]
Step: TypeAlias = Callable[[Field, Slots, jax.Array, Mapping[str, Value], Oracles], Outcome]
Evaluate: TypeAlias = Callable[[Field, Slots, jax.Array, Mapping[str, Value]], Field]


class Steps:
    """The three functions of a program on the weights of a user, for any hyperparameters.

    Lays work and states out as `lifting` says. `floats` are the names of the hyperparameters that
    a state has, and `asked_by` says for each oracle what asks for it.
    """

    def __init__(
        self,
        name: str,
        init: Init,
        step: Step,
        evaluate: Evaluate | None,
        *,
        asked_by: Mapping[str, str],
        floats: Iterable[str],
        random: bool,
        kinds: Kinds,
        lifting: Lifting,
    ) -> None:
        self.name = name
        self.asked_by = asked_by
        self.floats = frozenset(floats)
        self.random = random
        self.lifting = lifting
        self.functions = Functions()
        self._init = init
        self._step = step
        self._evaluate = evaluate
        self._kinds = kinds
        self._layouts: dict[Any, Layout] = {}
        self._lifted: dict[Any, Tree] = {}

    def lifted(self, tree: Tree, static: Mapping[str, Value]) -> Tree:
        """The places that the weights have in a step: each its own, or one for several."""
        key = tree, self.lifting, *static.values()
        if key not in self._lifted:
            self._lifted[key] = lifted(tree, static, self.lifting, self._kinds)
        return self._lifted[key]

    def packed(self, tree: Tree, static: Mapping[str, Value]) -> Tree:
        """The places of packed weights: each its own, or one for several small tensors."""
        return packed(tree.plain, static, self.lifting, self._kinds)

    def fresh_slots(self, w: Field, h: Mapping[str, Value]) -> Slots:
        """The slots of a fresh state, as the state keeps them."""
        slots = jax.tree.map(partial(_beside, w), self._init(w, h), is_leaf=_is_field)
        return self._keep_layout(slots, w.tree, h).leave(slots)

    def fresh(
        self,
        params: PyTree,
        static: dict[str, Value],
        floats: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> State:
        """The state before the first step, with these hyperparameters."""
        given = read(params)
        w = enter(given, partial(self.lifted, static=static))
        slots = apart(self.fresh_slots(w, static | floats), (params, floats))
        drawn = self.random or key is not None
        data = key_data(key) if drawn else None
        state = State(jnp.zeros((), jnp.int32), floats, data, slots)
        placed: State = on_their_mesh(state, given.tensors)
        return placed

    def start(
        self,
        params: PyTree,
        static: dict[str, Value],
        floats: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> State:
        """The same, in one jitted function where executables are kept.

        On several devices it is made as ever: there XLA would choose where slots lie.
        """
        if not self.functions.are_kept or are_shared(params):
            return self.fresh(params, static, floats, key)
        state: State = self.jitted_init(static)(params, floats, key)
        return state._replace(slots=apart(state.slots, (params, floats)))

    def advance(
        self,
        w: Field,
        state: State,
        objective: Objective | None,
        batch: PyTree,
        *,
        static: dict[str, Value],
        key: jax.Array | None = None,
        model_state: PyTree = None,
        given: Given | None = None,
        unavailable: str = "",
        form: Tree | None = None,
    ) -> tuple[Outcome, State, Oracles]:
        """One step: its outcome, the state after it, and the oracles that it asked.

        `form` are the places in which the caller has the weights.

        `key` is the model's; without one a model that takes a key gets one from the state's, which
        then moves on: each call has another, also one that a guard holds back or that accumulates.
        """
        self.check_state(state)
        h = static | state.hyperparameters
        layout = self.layout(w, h)
        own = None if state.key is None else jax.random.fold_in(wrap_key(state.key), state.count)
        if objective is not None and objective.key and key is None:
            key, moved_on = model_key(state.key)
            state = state._replace(key=moved_on)
        oracles = Oracles(
            w,
            objective,
            batch,
            key=own,
            model_key=key,
            model_state=model_state,
            given=given,
            unavailable=unavailable,
            needs=self.asked_by,
            form=form,
        )
        # As wide as the floats, since jax divides an int32 into a float32 under x64 too.
        t = (state.count + 1).astype(jnp.result_type(int))
        with unknown(state.count):
            outcome = self._step(w, layout.enter(state.slots), t, h, oracles)
        count = state.count + (1 if outcome.applied is None else outcome.applied)
        slots = jax.tree.map(placed_like, state.slots, layout.leave(outcome.slots))
        after = state._replace(count=count, slots=slots)
        return outcome, after, oracles

    def update(
        self,
        static: dict[str, Value],
        params: PyTree,
        state: State,
        batch: PyTree,
        objective: Objective,
        key: jax.Array | None,
        model_state: PyTree,
    ) -> tuple[PyTree, State, Report]:
        """One step with an objective: the next weights, the next state and a report."""
        check_objective(objective, self.asked_by)
        check_batch(batch, objective)
        check_inputs(objective, key, model_state)
        given = read(params)
        w = enter(given, partial(self.lifted, static=static))
        outcome, after, oracles = self.advance(
            w,
            state,
            objective,
            batch,
            static=static,
            key=key,
            model_state=model_state,
            form=given.tree,
        )
        observed = {name: reported(x) for name, x in (outcome.observed or {}).items()}
        requested = {name: as_scalar(x) for name, x in (outcome.requested or {}).items()}
        applied = jnp.asarray(True if outcome.applied is None else outcome.applied)
        beside = oracles.beside or Beside(model_state=model_state)
        report = Report(outcome.loss, observed, requested, beside.aux, applied, beside.model_state)
        return leave(next_weights(w, outcome, given.tree)), after, report

    def evaluation_weights(self, w: Field, state: State, static: dict[str, Value]) -> Field:
        """The weights to evaluate with."""
        self.check_state(state)
        if self._evaluate is None:
            return w
        h = static | state.hyperparameters
        slots = self.layout(w, h).enter(state.slots)
        return self._evaluate(w, slots, state.count, h)

    def check_state(self, state: State) -> None:
        """Raise TypeError for what is no state, ValueError for that of another optimizer."""
        if not isinstance(state, State):
            raise TypeError(
                f"`state` is a {type(state).__name__}; it must come from `init` of this optimizer"
            )
        if state.hyperparameters.keys() != self.floats:
            raise ValueError(
                f"the state is not of the optimizer `{self.name}`: its hyperparameters are "
                f"{sorted(state.hyperparameters)}, not {sorted(self.floats)}"
            )

    def jitted(self, static: dict[str, Value]) -> Callable[..., Any]:
        """The jitted step for some static hyperparameters: one for each combination of them."""

        def step(
            params: PyTree,
            state: State,
            batch: PyTree,
            objective: Objective,
            key: jax.Array | None,
            model_state: PyTree,
        ) -> tuple[PyTree, State, Report]:
            return self.update(static, params, state, batch, objective, key, model_state)

        return self.functions.jitted(
            step, self.name, (self.lifting, static), static=3, donated=(0, 1)
        )

    def jitted_apply(self, static: dict[str, Value]) -> Callable[..., Any]:
        """The jitted step of given gradients, likewise."""

        def apply(
            params: PyTree, state: State, grads: PyTree, value: jax.Array | None
        ) -> tuple[PyTree, State, Report]:
            lift = partial(self.lifted, static=static)
            return applied(partial(self.advance, static=static), lift, params, state, grads, value)

        return self.functions.jitted(
            apply,
            f"{self.name}_apply",
            (self.lifting, static),
            results=Results(
                rest=lambda given, after: after[2],
                tree=lambda given, report: (given[0], given[1], report),
            ),
            donated=(0, 1),
        )

    def jitted_init(self, static: dict[str, Value]) -> Callable[..., Any]:
        """The jitted function of weights, float hyperparameters and key that makes a state."""

        def init(params: PyTree, floats: dict[str, jax.Array], key: jax.Array | None) -> State:
            return self.fresh(params, static, floats, key)

        def tree(given: tuple[Any, ...], told: Skeleton) -> PyTree:
            return jax.eval_shape(init, *given) if told is None else built(told, *given[:2])

        return self.functions.jitted(
            init,
            f"{self.name}_init",
            (self.lifting, static),
            results=Results(rest=lambda given, state: skeleton(state, given[0]), tree=tree),
        )

    def layout(self, w: Field, h: Mapping[str, Value]) -> Layout:
        """The layout of the slots for these weights: known from `init`, or found by tracing it."""
        tree = w.tree
        known = self._layouts.get(_layout_key(tree, h))
        if known is not None:
            return known
        floats = {name: value for name, value in h.items() if hasattr(value, "dtype")}
        slots = jax.eval_shape(
            lambda tensors, floats: self._init(Field(tensors, tree), {**h, **floats}),
            w.like,
            floats,
        )
        return self._keep_layout(slots, tree, h)

    def _keep_layout(self, slots: Slots, tree: Tree, h: Mapping[str, Value]) -> Layout:
        return self._layouts.setdefault(_layout_key(tree, h), Layout.of(slots))


def _beside(w: Field, slot: Any) -> Any:
    """A fresh slot on the devices on which the weights lie."""
    if not isinstance(slot, Field):
        return slot
    pairs = zip(w.like, slot.tensors, strict=True)
    placed = [y if x is None or y is None else along(x, y) for x, y in pairs]
    return Field(placed, slot.tree, slot.declared)


def _is_field(node: Any) -> bool:
    return isinstance(node, Field)


def _layout_key(tree: Tree, h: Mapping[str, Value]) -> Any:
    static = tuple((name, x) for name, x in h.items() if not hasattr(x, "dtype"))
    return tree, static, jnp.result_type(float)
