"""Programs, and the optimizers that they are once their hyperparameters are bound."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Self, TypeAlias

import jax
import jax.numpy as jnp
import optax

from .border import arranged, enter, leave, read
from .executables import Kept
from .field import Field, scalar_dtype
from .functions import Functions
from .gradients import check_given
from .groups import Group, GroupTable, Limited, group_table, prove
from .hyperparameters import Hyperparameter, Value, as_scalar, bind, check_names
from .joined import Joined, joined
from .lifting import Kinds, Lifting, Masks, Way
from .needs import check_objective
from .objective import Objective
from .state import Report, State
from .steps import Evaluate, Init, Step, Steps
from .transform import transformation
from .tree import PyTree, leaves_of

Check: TypeAlias = Callable[[Mapping[str, Value]], None]


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
        self.source_file = source_file
        self.__doc__ = doc
        self.steps = Steps(
            name,
            init,
            step,
            evaluate,
            asked_by=self.asked_by,
            floats=(p.name for p in self.hyperparameters.values() if not p.static),
            random=random,
            kinds=Kinds(matrices, sets, packs, whole),
            lifting=Lifting(lifting),
        )
        self._step = step
        self._check = check
        self._source: str | None = None

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
        self.steps.lifting = Lifting(way or self.steps.lifting.way, mesh, axis)
        return self

    def keep(self, store: Kept, source: str = "") -> Self:
        """The program with its executables kept in a store, for other processes.

        `source` is the text of its module, if there is nothing else that the program is made of.
        """
        self.steps.functions = Functions(store, source)
        return self


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
        self._lift = partial(program.steps.lifted, static=self._static)

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
        return self.program.steps.start(params, self._static, floats, key)

    def groups(self, params: PyTree) -> GroupTable:
        """Where each tensor of some weights goes; `params` may be shapes only."""
        return self.program.groups(params, **self._static)

    def pack(self, params: PyTree) -> Joined:
        """The weights with small tensors as vectors, a pytree; its `tree` is built like `params`.

        All methods take it in the place of the weights, and what is built like them comes back in
        this form: so weights stay packed from step to step, and only the objective sees a tree.
        """
        given = read(params)
        return joined(arranged(given, self.program.steps.packed(given.tree, self._static)))

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
        self.program.steps.check_state(state)
        check_objective(objective, self.program.asked_by)
        jitted = self.program.steps.jitted(self._static)
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
        self.program.steps.check_state(state)
        check_given(self.program.asked_by, value)
        loss = None if value is None else jnp.asarray(value, scalar_dtype())
        try:
            after: tuple[PyTree, State, Report] = self.program.steps.jitted_apply(self._static)(
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
        return self.program.steps.update(
            self._static, params, state, batch, objective, key, model_state
        )

    def evaluation_params(self, params: PyTree, state: State) -> PyTree:
        """The weights to evaluate with: averages where the program keeps them."""
        given = read(params)
        w = enter(given, self._lift)
        found = self.program.steps.evaluation_weights(w, state, self._static)
        return leave(arranged(found, given.tree))

    def adopt(self, state: State, params: PyTree) -> State:
        """A state of this optimizer, however it was lifted, as this one keeps it.

        So a checkpoint of an accelerator goes on where matrices are not stacked, and the other way.
        """
        self.program.steps.check_state(state)
        w = enter(read(params), self._lift)
        layout = self.program.steps.layout(w, self._static | state.hyperparameters)
        return state._replace(slots=layout.adopt(state.slots))

    def set(self, state: State, **values: Value) -> State:
        """The state with other values of float hyperparameters; nothing compiles anew.

        Raises as binding does, and ValueError for a static one.
        """
        self.program.steps.check_state(state)
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
                self.program.steps.check_state(state)
                now = {name: as_scalar(x) for name, x in arrays.items()}
                state = state._replace(hyperparameters=state.hyperparameters | now)
            return self.program.steps.advance(w, state, *args, static=self._static, **more)

        return transformation(self.init, advance, self._lift, self.program.asked_by, objective)
