"""Trajectories: what a graph does on a tape, by the reference interpreter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..constants import value_of
from ..environment import Extern, Fields
from ..graph import Graph
from ..interpret import Interpreter, Observed
from ..records import Scalar
from .tapes import Array, Tape


class UnfitError(Exception):
    """A program that cannot run on a tape, or with these values; the message says why."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What is there after one step.

    Slots are lists of tensors for fields (None outside their domain) and numbers for scalars.
    `values` has what the step worked out, by the ids of the nodes, where it was asked for.
    """

    weights: list[Array]
    slots: list[Any]
    evaluation: list[Array]
    observed: Mapping[str, Observed]
    loss: float
    applied: bool
    values: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run: the slots of the fresh state, and each step.

    `names` says what the values of the moments are called where no graph does.
    """

    start: list[Any]
    moments: tuple[Moment, ...]
    names: Mapping[int, str] = field(default_factory=dict)


def follow(
    graph: Graph,
    tape: Tape,
    values: Mapping[str, Scalar] | None = None,
    *,
    steps: int | None = None,
    extern: Extern | None = None,
    keep: bool = False,
    interpreter: Callable[..., Interpreter] = Interpreter,
) -> Trajectory:
    """A program on a tape, over the reals as float64 has them.

    `values` are those of hyperparameters; others have their defaults. States of whole numbers
    are rounded as they are stored, while other dtypes are left out of account. `keep` keeps the
    values of all nodes, and `interpreter` is who runs them. Raises UnfitError where the program
    refuses the tape or the values.
    """
    runner = interpreter(graph, tape.tensors, bind(graph, values or {}), extern=extern)
    weights: Fields = list(tape.weights)
    with np.errstate(all="ignore"):
        try:
            slots = _stored(graph, runner.start(weights))
        except (ValueError, TypeError, ZeroDivisionError) as error:
            # A view that does not fit, or a refusal that waited for the values.
            raise UnfitError(str(error)) from error
        _admit(graph, tape, runner.masks)
        start, count = slots, tape.done
        moments = []
        for number in range(tape.steps if steps is None else steps):
            runner.oracles = tape.batches[number]
            runner.draw = tape.draw(number)
            outcome = runner.step(weights, slots, count + 1)
            kept = dict(runner.values) if keep else {}
            count += outcome.applied
            weights, slots = outcome.weights, _stored(graph, outcome.slots)
            evaluation = runner.evaluate(weights, slots, count)
            moments.append(
                Moment(
                    weights,
                    slots,
                    evaluation,
                    outcome.observed,
                    outcome.loss,
                    outcome.applied,
                    kept,
                )
            )
    return Trajectory(start, tuple(moments))


def bind(graph: Graph, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """A value for each hyperparameter: the given one or its default, which may follow others.

    Raises UnfitError for one that has neither.
    """
    bound: dict[str, Scalar] = {}
    for each in graph.hyperparameters:
        value = values.get(each.name, each.default)
        if each.name not in values and each.derived is not None:
            value = value_of(each.derived, bound)
        if value is None:
            raise UnfitError(f"`{each.name}` has no default; give it a value")
        bound[each.name] = float(value) if each.kind == "float" else value
    return bound


def _admit(graph: Graph, tape: Tape, masks: Sequence[Sequence[bool]]) -> None:
    """Raise UnfitError where `init` would find a tensor in no group."""
    if graph.groups:
        for place, path in enumerate(tape.paths):
            if not any(masks[group.domain][place] for group in graph.groups):
                raise UnfitError(f"`{path}` falls into no group")


def _stored(graph: Graph, slots: list[Any]) -> list[Any]:
    """The slots as they are kept where they are whole numbers, which is a part of the map."""
    return [
        [None if x is None else np.clip(np.round(x), -127, 127) for x in value]
        if slot.dtype == "int8"
        else value
        for slot, value in zip(graph.slots, slots, strict=True)
    ]
