"""Programs, and the optimizers that they are once their hyperparameters are bound."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import jax
import jax.numpy as jnp
import optax

from .border import apart, arranged, enter, leave, next_weights, read, reported
from .devices import along, are_shared, on_their_mesh, placed_like
from .executables import Kept, Results
from .field import Field, scalar_dtype
from .functions import Functions
from .gradients import applied, check_given
from .groups import Group, GroupTable, Limited, group_table, prove
from .hyperparameters import Hyperparameter, Value, as_scalar, bind, check_names
from .joined import Joined, joined
from .lifting import Kinds, Lifting, Masks, Way, lifted, packed
from .multi_output import unknown
from .needs import check_batch, check_inputs, check_objective
from .objective import Beside, Objective
from .oracles import Given, Oracles
from .random import key_data, model_key, wrap_key
from .skeleton import Skeleton, built, skeleton
from .state import Layout, Outcome, Report, Slots, State
from .transform import transformation
from .tree import PyTree, Tree, leaves_of

Init: TypeAlias = Callable[[Field, Mapping[str, Value]], Slots]
Step: TypeAlias = Callable[[Field, Slots, jax.Array, Mapping[str, Value], Oracles], Outcome]
Check: TypeAlias = Callable[[Mapping[str, Value]], None]
Evaluate: TypeAlias = Callable[[Field, Slots, jax.Array, Mapping[str, Value]], Field]


class Program:
    """A compiled optimizer with free hyperparameters. Call it with values to bind them.

    `init(w, h)` makes the slots of a fresh state, `step(w, slots, t, h, oracles)` is one step and
    `evaluate(w, slots, t, h)` gives the weights to evaluate with, where they are not the
    trained ones. `check(h)` raises ValueError for values that a rule refuses. `needs` has, for each
    oracle that the program uses, the stage and spec line that asks for it. A `random` program
    carries a key in its state. `groups` and `limited` say which tensors go through which stages,
    for `groups` of some weights. `matrices(w, h)` are sets of tensors that go through work on
    matrices, which `lifting` may stack, and `sets(w, h)` what tells tensors apart that may lie
    together. A program that `packs` sees only single elements of all tensors but those of the sets
    `whole(w, h)`, so small ones may be one vector.
    """

    def __init__(
        self,
        name: str,
        *,
        init: Init,
        step: Step,
        evaluate: Evaluate | None = None,
        check: Check | None = None,
        needs: Mapping[str, str],
        hyperparameters: Iterable[Hyperparameter] = (),
        random: bool = False,
        observed: Iterable[str] = (),
        requested: Iterable[str] = (),
        groups: Iterable[Group] = (),
        limited: Iterable[Limited] = (),
        matrices: Masks | None = None,
        sets: Masks | None = None,
        packs: bool = False,
        whole: Masks | None = None,
        lifting: Way = "auto",
        doc: str = "",
        source_file: str = "",
    ) -> None:
        self.name = name
        self.hyperparameters: Mapping[str, Hyperparameter] = MappingProxyType(
            {parameter.name: parameter for parameter in hyperparameters}
        )
        self.asked_by = MappingProxyType(dict(needs))
        self.random = random
        self.observed = tuple(observed)
        self.requested = tuple(requested)
        self.declared_groups = tuple(groups)
        self.limited = tuple(limited)
        self.lifting = Lifting(lifting)
        self.source_file = source_file
        self.__doc__ = doc
        self._init = init
        self._step = step
        self._evaluate = evaluate
        self._check = check
        self._kinds = Kinds(matrices, sets, packs, whole)
        self._source: str | None = None
        self._functions = Functions()
        self._layouts: dict[Any, Layout] = {}
        self._lifted: dict[Any, Tree] = {}

    def __call__(self, **values: Value) -> "Optimizer":
        """The optimizer with these hyperparameters, the others at their defaults.

        A float may be traced. Raises ValueError or TypeError naming the hyperparameter, its
        value and the spec line, for one that is unknown, of the wrong type or out of range; and
        ValueError for what a rule refuses.
        """
        bound = bind(self.hyperparameters.values(), values)
        if self._check is not None:
            self._check(bound)
        return Optimizer(self, bound)

    def __repr__(self) -> str:
        return f"Program({self.name!r}, {', '.join(self.hyperparameters)})"

    @property
    def needs(self) -> frozenset[str]:
        """The oracles that the program uses."""
        return frozenset(self.asked_by)

    @property
    def source(self) -> str:
        """The generated Python module."""
        if self._source is None:
            module = inspect.getmodule(self._step)
            self._source = inspect.getsource(module or self._step)
        return self._source

    @source.setter
    def source(self, text: str) -> None:
        self._source = text

    def groups(self, params: PyTree, **sizes: int) -> GroupTable:
        """Where each tensor of some weights goes; `params` may be shapes only.

        `sizes` are hyperparameters that views and predicates speak of, if not at their defaults.
        """
        asked = any(group.view or group.with_h for group in self.declared_groups)
        asked = asked or any(stage.with_h for stage in self.limited)
        known = bind([p for p in self.hyperparameters.values() if p.static], sizes) if asked else {}
        leaves = params.beside.leaves if isinstance(params, Joined) else leaves_of(params)
        return group_table(self.declared_groups, self.limited, leaves, known)

    def lift(
        self,
        way: Way | None = None,
        mesh: jax.sharding.Mesh | None = None,
        axis: str | None = None,
    ) -> Self:
        """The program after its work is lifted in another way; None keeps what there is."""
        self.lifting = Lifting(way or self.lifting.way, mesh, axis)
        return self

    def keep(self, store: Kept, source: str = "") -> Self:
        """The program with its executables kept in a store, for other processes.

        `source` is the text of its module, if there is nothing else that the program is made of.
        """
        self._functions = Functions(store, source)
        return self

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
        if not self._functions.are_kept or are_shared(params):
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
        names = {name for name, p in self.hyperparameters.items() if not p.static}
        if state.hyperparameters.keys() != names:
            raise ValueError(
                f"the state is not of the optimizer `{self.name}`: its hyperparameters are "
                f"{sorted(state.hyperparameters)}, not {sorted(names)}"
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
            return _update(self, static, params, state, batch, objective, key, model_state)

        return self._functions.jitted(
            step, self.name, (self.lifting, static), static=3, donated=(0, 1)
        )

    def jitted_apply(self, static: dict[str, Value]) -> Callable[..., Any]:
        """The jitted step of given gradients, likewise."""

        def apply(
            params: PyTree, state: State, grads: PyTree, value: jax.Array | None
        ) -> tuple[PyTree, State, Report]:
            lift = partial(self.lifted, static=static)
            return applied(partial(self.advance, static=static), lift, params, state, grads, value)

        return self._functions.jitted(
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

        return self._functions.jitted(
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


class Optimizer:
    """A program with its hyperparameters bound.

    The float ones start in the state that `init` makes and live there; see `set`. The static
    ones belong to the optimizer.
    """

    def __init__(self, program: Program, values: Mapping[str, Value]) -> None:
        self.program = program
        self.values = MappingProxyType(dict(values))
        parameters = program.hyperparameters
        self._static = {name: x for name, x in values.items() if parameters[name].static}
        self._floats = {name: x for name, x in values.items() if not parameters[name].static}
        self._lift = partial(program.lifted, static=self._static)

    def __repr__(self) -> str:
        bound = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"{self.program.name}({bound})"

    def init(self, params: PyTree, key: jax.Array | None = None) -> State:
        """The state before the first step.

        `params` is any pytree of float arrays. `key` seeds a program that draws random numbers,
        whose seed is 0 without one, and an objective that takes a key. Slots are placed on the
        devices as the weights are. Raises ValueError for tensors that fall into no group, and warns
        of groups that get none (`GroupWarning`).
        """
        prove(self.groups(params))
        floats = {name: as_scalar(value) for name, value in self._floats.items()}
        return self.program.start(params, self._static, floats, key)

    def groups(self, params: PyTree) -> GroupTable:
        """Where each tensor of some weights goes; `params` may be shapes only."""
        return self.program.groups(params, **self._static)

    def pack(self, params: PyTree) -> Joined:
        """The weights with small tensors as vectors, a pytree; its `tree` is built like `params`.

        All methods take it in the place of the weights, and what is built like them comes back in
        this form: so weights stay packed from step to step, and only the objective sees a tree.
        """
        given = read(params)
        return joined(arranged(given, self.program.packed(given.tree, self._static)))

    def step(
        self,
        params: PyTree,
        state: State,
        batch: PyTree,
        objective: Objective,
        *,
        key: jax.Array | None = None,
        model_state: PyTree = None,
    ) -> tuple[PyTree, State, Report]:
        """One step, compiled: the next weights, the next state and a report.

        `params` and `state` are donated: their buffers are used again, so go on with what is
        returned. Another batch shape or another objective compiles anew; other floats do not.
        `key` is for an objective that takes one, in the place of one from the state;
        `model_state` for one that has it, and the report has the next.
        """
        self.program.check_state(state)
        check_objective(objective, self.program.asked_by)
        jitted = self.program.jitted(self._static)
        try:
            after: tuple[PyTree, State, Report] = jitted(
                params, state, batch, objective, key, model_state
            )
        except TypeError:
            # jax.jit refuses a leaf that is no array before we see it: say which, in our words.
            read(params)
            raise
        return after

    def apply(
        self, params: PyTree, state: State, grads: PyTree, *, value: jax.Array | float | None = None
    ) -> tuple[PyTree, State, Report]:
        """One step of given gradients, compiled: the next weights, the next state and a report.

        `grads` are those of the loss at `params`, and `value` is the loss there, NaN in the report
        without it. `params` and `state` are donated, as by `step`. For programs that ask for
        nothing else; raises ValueError for others, naming what they ask for.
        """
        self.program.check_state(state)
        check_given(self.program.asked_by, value)
        loss = None if value is None else jnp.asarray(value, scalar_dtype())
        try:
            after: tuple[PyTree, State, Report] = self.program.jitted_apply(self._static)(
                params, state, grads, loss
            )
        except TypeError:
            read(params)
            read(grads, "grads")
            raise
        return after

    def update(
        self,
        params: PyTree,
        state: State,
        batch: PyTree,
        objective: Objective,
        *,
        key: jax.Array | None = None,
        model_state: PyTree = None,
    ) -> tuple[PyTree, State, Report]:
        """One step as a pure function, for the user's own jit, scan, vmap or shard_map."""
        static = self._static
        return _update(self.program, static, params, state, batch, objective, key, model_state)

    def evaluation_params(self, params: PyTree, state: State) -> PyTree:
        """The weights to evaluate with: averages where the program keeps them."""
        given = read(params)
        w = enter(given, self._lift)
        found = self.program.evaluation_weights(w, state, self._static)
        return leave(arranged(found, given.tree))

    def adopt(self, state: State, params: PyTree) -> State:
        """A state of this optimizer, however it was lifted, as this one keeps it.

        So a checkpoint of an accelerator goes on where matrices are not stacked, and the other way.
        """
        self.program.check_state(state)
        w = enter(read(params), self._lift)
        layout = self.program.layout(w, self._static | state.hyperparameters)
        return state._replace(slots=layout.adopt(state.slots))

    def set(self, state: State, **values: Value) -> State:
        """The state with other values of float hyperparameters; nothing compiles anew.

        Raises as binding does, and ValueError for a static one.
        """
        self.program.check_state(state)
        check_names(self.program.hyperparameters, values)
        changed = dict(state.hyperparameters)
        for name, value in values.items():
            parameter = self.program.hyperparameters[name]
            if parameter.static:
                raise ValueError(
                    f"`{name}` is static, so it is not part of a state; "
                    f"bind it: {self.program.name}({name}={value!r})"
                )
            changed[name] = as_scalar(parameter.check(value))
        return state._replace(hyperparameters=changed)

    def transform(
        self, objective: Objective | None = None
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer as an optax transformation; see `transform.transformation`.

        A hyperparameter that is bound to an array, traced or not, is what the array is at each
        update, and not what the state has: so `optax.inject_hyperparams` works around it.
        """
        arrays = {name: x for name, x in self._floats.items() if isinstance(x, jax.Array)}

        def advance(w: Field, state: State, *args: Any, **more: Any) -> Any:
            if arrays:
                self.program.check_state(state)
                now = {name: as_scalar(x) for name, x in arrays.items()}
                state = state._replace(hyperparameters=state.hyperparameters | now)
            return self.program.advance(w, state, *args, static=self._static, **more)

        return transformation(self.init, advance, self._lift, self.program.asked_by, objective)


def _update(
    program: Program,
    static: dict[str, Value],
    params: PyTree,
    state: State,
    batch: PyTree,
    objective: Objective,
    key: jax.Array | None,
    model_state: PyTree,
) -> tuple[PyTree, State, Report]:
    check_objective(objective, program.asked_by)
    check_batch(batch, objective)
    check_inputs(objective, key, model_state)
    given = read(params)
    w = enter(given, partial(program.lifted, static=static))
    outcome, after, oracles = program.advance(
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
