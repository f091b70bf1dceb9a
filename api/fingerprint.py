"""Fingerprints: what the compiled program of a spec does on a tape, as a lock keeps it."""

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..compiler.driver import print_program
from ..compiler.graph import Graph, walk
from ..compiler.graphs import lowered_graph
from ..compiler.locate import Located
from ..compiler.meaning.lock import (
    UNITS,
    Deviation,
    Kind,
    Lock,
    Numbers,
    deviation,
    fitting_tape,
    numbers,
    tolerances,
    track,
)
from ..compiler.meaning.meaning import changes, meaning
from ..compiler.meaning.tapes import Tape
from ..compiler.meaning.trajectory import UnfitError, follow
from ..compiler.ops import OPS
from ..compiler.records import Scalar
from ..grammar.diagnostic import OptcError
from ..runtime import Objective
from .lent import Lent
from .programs import run

_DRAWS = "it draws random numbers, whose bits are those of a version of jax"


class UnlockableError(OptcError):
    """A program that runs on no tape; the message says why."""


def versions() -> dict[str, str]:
    """The versions of all that makes the numbers."""
    found = {name: metadata.version(name) for name in ("optc", "jax", "jaxlib", "numpy", "optax")}
    return {**found, "python": platform.python_version()}


def lock(located: Located, settings: Mapping[str, Scalar]) -> Lock:
    """The lock of a spec, with its hyperparameters at their defaults but for the settings.

    Raises UnlockableError for a program that runs on no tape.
    """
    graph, _ = lowered_graph(located, settings)
    try:
        taped, exact = fitting_tape(graph, {}, Lent())
    except UnfitError as error:
        raise UnlockableError(f"`{graph.name}` runs on no tape: {error}") from None
    found: dict[Kind, Numbers] = {
        "interpreter": numbers(taped.paths, [m.weights for m in exact.moments])
    }
    left_out = _left_out(graph)
    for kind in UNITS:
        if kind not in found and kind not in left_out:
            found[kind] = _numbers(graph, taped, kind)
    limits = {unit: tolerances(graph, taped, {}, unit, Lent()) for unit in set(UNITS.values())}
    return Lock(
        schema_version=1,
        optimizer=graph.name,
        settings=dict(settings),
        versions=versions(),
        meaning=meaning(graph),
        tree=taped.tree,
        seed=taped.seed,
        steps=taped.steps,
        tracks={kind: track(rows, limits[UNITS[kind]]) for kind, rows in found.items()},
        left_out=left_out,
    )


def verify(located: Located, locked: Lock) -> tuple[list[str], list[Deviation]]:
    """What of a spec is not as it was locked: its meaning, in words, and its numbers."""
    graph, _ = lowered_graph(located, locked.settings)
    different = changes(locked.meaning, meaning(graph))
    if different:
        return different, []
    taped = locked.tape()
    found = []
    for kind, old in locked.tracks.items():
        deviates = deviation(kind, old, _numbers(graph, taped, kind))
        if deviates is not None:
            found.append(deviates)
    return [], found


def _left_out(graph: Graph) -> dict[Kind, str]:
    """Tracks that would not be of the optimizer alone, and why."""
    draws = any(OPS[n.op].op_class == "random" for r in graph.regions() for n in walk(r))
    return {"float64": _DRAWS, "float32": _DRAWS} if draws else {}


def _numbers(graph: Graph, taped: Tape, kind: Kind) -> Numbers:
    if kind == "interpreter":
        moments = follow(graph, taped, {}, extern=Lent()).moments
        return numbers(taped.paths, [m.weights for m in moments])
    with jax.enable_x64(kind == "float64"), jax.default_device(jax.devices("cpu")[0]):
        return numbers(taped.paths, _followed(graph, taped, np.dtype(kind)))


def _followed(graph: Graph, taped: Tape, dtype: "np.dtype[Any]") -> list[list[Any]]:
    """The weights of each step, by the program that is printed from the graph."""
    optimizer = run(print_program(graph))()
    params: Any = _nested(taped.paths, [jnp.asarray(w, dtype) for w in taped.weights])
    state = optimizer.init(params)
    objective = Objective(outputs=_outputs, loss=_loss, batch_axis=0)
    seen = []
    for each in taped.batches:
        parts = (each.inputs, each.targets, np.float64(each.size))
        batch = tuple(jnp.asarray(x, dtype) for x in parts)
        params, state, _ = optimizer.step(params, state, batch, objective)
        seen.append([np.asarray(_at(params, path), np.float64) for path in taped.paths])
    return seen


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
