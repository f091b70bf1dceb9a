"""Fingerprints: what the compiled program of a spec does on a tape, as a lock keeps it."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..compiler.driver import print_program
from ..compiler.graph import Graph, walk
from ..compiler.graphs import lowered_graph
from ..compiler.locate import Located
from ..compiler.meaning.lock import UNITS, Deviation, Kind, Lock, deviation, track
from ..compiler.meaning.meaning import FORM, changes, meaning
from ..compiler.meaning.tapes import Tape
from ..compiler.meaning.tracks import Numbers, fitting_tape, numbers, tolerances
from ..compiler.meaning.trajectory import UnfitError, follow
from ..compiler.ops import OPS, draws
from ..compiler.questions import measurements
from ..compiler.records import Scalar
from ..grammar.diagnostic import OptcError, SpecError
from ..runtime import Objective
from .lent import Lent
from .programs import run

_DRAWS = "it draws random numbers, whose bits are those of a version of jax"


class UnlockableError(OptcError):
    """A program that runs on no tape; the message says why."""


@dataclass(frozen=True)
class Verified:
    """What of a spec is not as it was locked: its meaning, in words, and its numbers.

    It is true where nothing is. `versions` says which versions are others, and `lock` has what
    was locked.
    """

    lock: Lock
    meaning: tuple[str, ...]
    numbers: tuple[Deviation, ...]
    versions: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.meaning and not self.numbers

    def __str__(self) -> str:
        if self:
            old = (
                "" if self.lock.meaning.form == FORM else "; its hash is of another version of optc"
            )
            return f"as locked, by {', '.join(self.lock.tracks)}{old}"
        what = "the meaning has changed" if self.meaning else "the numbers have changed"
        versions = self.versions or ("all versions are those that made the lock",)
        return "\n  ".join((what, *self.meaning, *map(str, self.numbers), *versions))


def fingerprint(located: Located, settings: Mapping[str, Scalar], spec: str | None = None) -> Lock:
    """The lock of a spec, with its hyperparameters at their defaults but for the settings.

    `spec` is its file as the lock is to name it. Raises UnlockableError for a program that runs on
    no tape.
    """
    graph, _ = lowered_graph(located, settings)
    try:
        taped, exact = fitting_tape(graph, {}, Lent())
    except UnfitError as error:
        raise UnlockableError(f"`{graph.name}` runs on no tape: {error}") from None
    found: dict[Kind, Numbers] = {"interpreter": numbers(graph, taped, exact.moments)}
    left_out = _left_out(graph)
    for kind in UNITS:
        if kind not in found and kind not in left_out:
            found[kind] = _numbers(graph, taped, kind)
    units = {UNITS[kind] for kind in found}
    limits = {unit: tolerances(graph, taped, {}, unit, Lent()) for unit in units}
    return Lock(
        schema_version=1,
        optimizer=graph.name,
        spec=spec,
        settings=dict(settings),
        versions=_versions(),
        meaning=meaning(graph),
        tree=taped.tree,
        seed=taped.seed,
        steps=taped.steps,
        tracks={kind: track(rows, limits[UNITS[kind]]) for kind, rows in found.items()},
        left_out=left_out,
    )


def verified(located: Located, locked: Lock) -> Verified:
    """What of a spec is not as it was locked. Raises SpecError for one that has errors."""
    refusal = None
    try:
        graph, _ = lowered_graph(located, locked.settings)
    except SpecError as error:
        # The settings may be of what the spec no longer has, which is then a change.
        graph, refusal = lowered_graph(located)[0], error
    versions = tuple(_changed_versions(locked.versions, _versions()))
    different = changes(locked.meaning, meaning(graph))
    if refusal is not None and not different:
        raise refusal
    if different:
        return Verified(locked, tuple(different), (), versions)
    taped = locked.tape()
    found = []
    for kind, old in locked.tracks.items():
        deviates = deviation(kind, old, _numbers(graph, taped, kind))
        if deviates is not None:
            found.append(deviates)
    return Verified(locked, (), tuple(found), versions)


def _versions() -> dict[str, str]:
    """The versions of all that makes the numbers."""
    found = {name: metadata.version(name) for name in ("optc", "jax", "jaxlib", "numpy", "optax")}
    return {**found, "python": platform.python_version(), "machine": platform.machine()}


def _changed_versions(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [
        f"{name} was {old.get(name, 'not there')} and is {new[name]}"
        for name in new
        if old.get(name) != new[name]
    ]


def _left_out(graph: Graph) -> dict[Kind, str]:
    """Tracks that would not be of the optimizer alone, and why."""
    random = any(draws(OPS[n.op]) for r in graph.regions() for n in walk(r))
    return {"float64": _DRAWS, "float32": _DRAWS} if random else {}


def _numbers(graph: Graph, taped: Tape, kind: Kind) -> Numbers:
    if kind == "interpreter":
        return numbers(graph, taped, follow(graph, taped, {}, extern=Lent()).moments)
    with jax.enable_x64(kind == "float64"), jax.default_device(jax.devices("cpu")[0]):
        return numbers(graph, taped, _followed(graph, taped, np.dtype(kind)))


class _Seen(NamedTuple):
    weights: list[Any]
    evaluation: list[Any]
    observed: Mapping[str, Any]


def _followed(graph: Graph, taped: Tape, dtype: "np.dtype[Any]") -> list[_Seen]:
    """What is there after each step, by the program that is printed from the graph."""
    optimizer = run(print_program(graph))()
    params: Any = _nested(taped.paths, [jnp.asarray(w, dtype) for w in taped.weights])
    state = optimizer.init(params)
    objective = _objective(taped.paths, measurements(graph))
    evaluate = jax.jit(optimizer.evaluation_params)

    def tensors(tree: Any) -> list[Any]:
        return [np.asarray(_at(tree, path), np.float64) for path in taped.paths]

    seen = []
    for each in taped.batches:
        parts = (each.inputs, each.targets, np.float64(each.size))
        batch = tuple(jnp.asarray(x, dtype) for x in parts)
        params, state, report = optimizer.step(params, state, batch, objective)
        averaged = evaluate(params, state) if graph.evaluation is not None else params
        seen.append(
            _Seen(tensors(params), tensors(averaged), {**report.observed, **report.requested})
        )
    return seen


def _objective(paths: tuple[str, ...], names: tuple[str, ...]) -> Objective:
    """The objective of a tape, whose model measures these names as the tape does."""
    if not names:
        return Objective(outputs=_outputs, loss=_loss, batch_axis=0)

    def measuring(params: Any, batch: Any) -> Any:
        sizes = (jnp.sum(jnp.abs(_at(params, path))) for path in paths)
        rows = [{name: len(name) * size for name in names} for size in sizes]
        return _outputs(params, batch), _nested(paths, rows)

    return Objective(
        outputs=measuring, loss=_loss, batch_axis=0, aux=True, measured=lambda aux: aux
    )


def _outputs(params: Any, batch: Any) -> Any:
    x = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(params)])
    return jnp.sum(batch[0] * (x + x / jnp.sqrt(1 + x**2)), axis=-1)


def _loss(outputs: Any, batch: Any) -> Any:
    rest = outputs - batch[1]
    return batch[2] * jnp.sum(jnp.sqrt(1 + rest**2) - 1) / outputs.shape[0]


def _nested(paths: tuple[str, ...], tensors: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, tensor in zip(paths, tensors, strict=True):
        *folders, name = path.split("/")
        inner = found
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = tensor
    return found


def _at(tree: Any, path: str) -> Any:
    for part in path.split("/"):
        tree = tree[part]
    return tree
