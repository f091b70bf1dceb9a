"""Transformations of optax as a side of a comparison: followed on tapes in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..compiler.environment import Fields
from ..compiler.graphs import lowered_graph
from ..compiler.locate import find
from ..compiler.meaning.side import Program, Values
from ..compiler.meaning.tapes import Tape
from ..compiler.meaning.trajectory import Moment, Trajectory, UnfitError
from ..compiler.records import Hyperparameter
from ..grammar import syntax
from .claimant import claimant
from .twins import TwinError, value

_FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""How steps are compiled: they run a hundred times, so compiling costs more than running."""

_UNTRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What optax raises where it decides on a value in Python."""

_REFUSED = (
    *(TypeError, ValueError, ArithmeticError, AttributeError, LookupError, AssertionError),
    NotImplementedError,
)
"""What it raises for arguments that it does not understand, at the first step or when made."""

_Jitted = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Followed:
    """An expression over optax. Its free names are `hyperparameters` of the other side."""

    name: str
    expression: syntax.Expr
    hyperparameters: tuple[Hyperparameter, ...] = ()
    _steps: dict[Any, tuple[_Jitted, _Jitted]] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """More values than any transformation works out for one tensor, for all that is known."""
        return 200

    @property
    def evaluates(self) -> bool:
        """Optax keeps no weights to evaluate with in a form that all transformations share."""
        return False

    def transformation(self, values: Values) -> optax.GradientTransformationExtraArgs:
        """The transformation for these values. Raises TwinError for what makes none."""
        try:
            made = value(self.expression, dict(values))
        except _UNTRACED:
            raise
        except _REFUSED as error:
            raise TwinError(f"optax refuses `{self.expression.span.text}`: {error}") from error
        if not isinstance(made, optax.GradientTransformation):
            raise TwinError(f"`{self.expression.span.text}` makes no transformation")
        return optax.with_extra_args_support(made)

    def check(self) -> None:
        """Raise TwinError where the defaults of the other side make no transformation."""
        self.transformation(
            {h.name: 0.5 if h.default is None else h.default for h in self.hyperparameters}
        )

    def spec(self, values: Values) -> tuple[Program, Values] | None:
        """The optimizer of the library that claims to be this, with the values that it has here."""
        found = claimant(self.expression, values)
        if found is None:
            return None
        name, own = found
        return Program(name, lowered_graph(find(name))[0]), own

    def follow(
        self, tape: Tape, values: Values, *, steps: int | None = None, keep: bool = False
    ) -> Trajectory:
        """The weights of each step, and with `keep` the states and updates as values."""
        count = tape.steps if steps is None else steps
        own = {h.name: values[h.name] for h in self.hyperparameters}
        floats: Values = {n: x for n, x in own.items() if isinstance(x, float)}
        rest: Values = {n: x for n, x in own.items() if n not in floats}
        with jax.enable_x64(True), np.errstate(all="ignore"):
            try:
                return self._follow(tape, floats, rest, count, keep)
            except _UNTRACED:
                return self._follow(tape, {}, own, count, keep)
            except _REFUSED as error:
                raise UnfitError(f"optax refuses it: {_first_line(error)}") from error

    def _follow(
        self, tape: Tape, floats: Values, fixed: Values, steps: int, keep: bool
    ) -> Trajectory:
        tree = _Tree(tape.paths)
        start, step = self._compiled_once(tape, floats, fixed)
        weights: Fields = list(tape.weights)
        state = start(floats, weights)
        names, moments = dict[int, str](), []
        for batch in tape.batches[:steps]:
            grads = batch.grad(weights)
            numbers = batch.loss(weights), batch.inputs, batch.targets, batch.size
            updates, state = step(floats, grads, weights, state, numbers)
            changes = [np.asarray(x, np.float64) for x in updates]
            weights = [w + x for w, x in zip(weights, changes, strict=True)]
            kept: dict[int, Any] = {}
            if keep:
                seen = {"update": changes, "grad": grads, **tree.values(state)}
                names = dict(enumerate(seen))
                kept = dict(enumerate(seen.values()))
            moments.append(Moment(weights, [], weights, {}, float("nan"), True, kept))
        return Trajectory([], tuple(moments), names)

    def _compiled_once(self, tape: Tape, floats: Values, fixed: Values) -> tuple[_Jitted, _Jitted]:
        key = (tape.tree, tuple(floats), tuple(fixed.items()))
        if key not in self._steps:
            self._steps[key] = self._compiled(tape, fixed)
        return self._steps[key]

    def _compiled(self, tape: Tape, fixed: Values) -> tuple[_Jitted, _Jitted]:
        """How the state starts, and a step."""
        tree, shapes = _Tree(tape.paths), tape.batches[0].shapes

        def start(floats: Any, weights: Any) -> Any:
            return self.transformation({**fixed, **floats}).init(tree.of(weights))

        def step(floats: Any, grads: Any, weights: Any, state: Any, numbers: Any) -> Any:
            made = self.transformation({**fixed, **floats})
            params, loss = tree.of(weights), _loss(tree, shapes, *numbers[1:])
            gradient = tree.of(grads)
            updates, state = made.update(
                gradient, state, params, value=numbers[0], grad=gradient, value_fn=loss
            )
            return tree.leaves(updates), state

        return jax.jit(start, compiler_options=_FAST), jax.jit(step, compiler_options=_FAST)


@dataclass(frozen=True)
class _Tree:
    """Weights as the nested dicts that their paths say."""

    paths: tuple[str, ...]

    def of(self, tensors: Sequence[Any]) -> dict[str, Any]:
        """The tree of tensors that are in the order of the paths."""
        found: dict[str, Any] = {}
        for path, tensor in zip(self.paths, tensors, strict=True):
            *folders, name = path.split("/")
            inner = found
            for folder in folders:
                inner = inner.setdefault(folder, {})
            inner[name] = jnp.asarray(tensor, jnp.float64)
        return found

    def leaves(self, tree: Any) -> list[Any]:
        """The tensors of a tree in the order of the paths."""
        found = []
        for path in self.paths:
            inner = tree
            for part in path.split("/"):
                inner = inner[part]
            found.append(inner)
        return found

    def values(self, state: Any) -> dict[str, Any]:
        """What a state keeps, by name: fields in the order of the paths, and scalars."""
        shape = str(jax.tree.structure(self.of([0.0] * len(self.paths))))
        flat, _ = jax.tree.flatten_with_path(
            state, is_leaf=lambda x: str(jax.tree.structure(x)) == shape
        )
        found: dict[str, Any] = {}
        for path, leaf in flat:
            name = _name(path)
            if isinstance(leaf, dict):
                found[name] = [np.asarray(x, np.float64) for x in self.leaves(leaf)]
            elif np.ndim(leaf) == 0 and jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.number):
                found[name] = float(leaf)
        return found


def _name(path: Sequence[Any]) -> str:
    """`mu`, where a state of a chain says `[0].mu`: the places tell states of one name apart."""
    parts = [str(getattr(key, "name", getattr(key, "idx", key))) for key in path]
    return ".".join(parts)


def _loss(
    tree: _Tree, shapes: Sequence[tuple[int, ...]], inputs: Any, targets: Any, size: Any
) -> Callable[[Any], Any]:
    """The loss of a batch for transformations that search along a line: see `Batch`."""

    def loss(params: Any) -> Any:
        x = jnp.concatenate([jnp.ravel(leaf) for leaf in tree.leaves(params)])
        rest = jnp.sum(inputs * (x + x / jnp.sqrt(1 + x**2)), axis=-1) - targets
        return size * jnp.sum(jnp.sqrt(1 + rest**2) - 1) / inputs.shape[0]

    return loss


def _first_line(error: Exception) -> str:
    lines: list[str] = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
