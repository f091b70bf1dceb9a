"""Plans in Python: what an optimizer costs for weights that are there, or for their shapes."""

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from os import PathLike

import jax
import jax.numpy as jnp

from ..compiler.budget.budget import Budget, BudgetError, budget, has_doubles, opaque_slots
from ..compiler.budget.tensors import Tensor, Tree
from ..compiler.driver import print_program
from ..compiler.graph import Graph
from ..compiler.graphs import lowered_graph
from ..compiler.locate import Located
from ..compiler.passes.contracts import known
from ..compiler.records import Scalar
from ..runtime import GroupWarning, Optimizer
from ..runtime.tree import PyTree, leaves_of
from .compiled import compiled_step
from .programs import locate, run


def plan(
    spec: str | PathLike[str],
    params: PyTree,
    *,
    defaults: Mapping[str, Scalar] | None = None,
    allow_use: Iterable[str | PathLike[str]] = (),
    allow_extern: Iterable[str] = (),
    without: Iterable[str] = (),
    compiled: bool = False,
) -> Budget:
    """What a spec costs for some weights: the numbers of `optc plan`, which print as its text.

    `params` is any pytree of float arrays or of their shapes (`jax.ShapeDtypeStruct`), of which
    only shapes are looked at. With `compiled` the step is compiled, and what XLA counts is there
    too. The other arguments are those of `load`, and so is what is raised,
    beside TypeError for a leaf that is no array of floats.
    """
    leaves = leaves_of(params)
    tree = Tree.of("params", (Tensor(leaf.path, leaf.shape, leaf.dtype) for leaf in leaves))
    located = locate(spec, allow_use, allow_extern)
    return plan_of(located, tree, defaults, known(without), compiled)


def plan_of(
    located: Located,
    tree: Tree,
    defaults: Mapping[str, Scalar] | None,
    without: Collection[str] = (),
    compiled: bool = False,
) -> Budget:
    """The plan of a spec that was found. Floats that stand alone are as wide as JAX has them."""
    graph, _ = lowered_graph(located, defaults)
    wide = jnp.result_type(float) == jnp.float64 or has_doubles(tree)
    with jax.enable_x64(wide), warnings.catch_warnings():
        scalar = jnp.result_type(float).itemsize
        found = budget(graph, tree, scalar=scalar, without=without)
        refused = any(finding.fatal for finding in found.findings)
        if refused or not (compiled or opaque_slots(graph)):
            return found
        # The findings have what there is to warn of.
        warnings.simplefilter("ignore", GroupWarning)
        optimizer = run(print_program(graph, without=without))()
        structs = {t.path: _struct(t) for t in tree.tensors}
        if opaque_slots(graph):
            opaque = _opaque_bytes(graph, optimizer, structs)
            found = budget(graph, tree, opaque, scalar, without)
        if not compiled:
            return found
        return replace(found, compiled=compiled_step(optimizer, structs, found.least))


def _opaque_bytes(graph: Graph, optimizer: Optimizer, params: PyTree) -> dict[int, int]:
    """What transformations of optax keep, by the numbers of their slots."""
    try:
        slots = jax.eval_shape(optimizer.init, params).slots
    except (ValueError, TypeError) as error:
        raise BudgetError(f"no state can be made for these weights: {error}") from error
    named = {number: graph.slots[number] for number in opaque_slots(graph)}
    return {
        number: sum(
            x.size * x.dtype.itemsize for x in jax.tree.leaves(slots[slot.stage][slot.name])
        )
        for number, slot in named.items()
    }


def _struct(tensor: Tensor) -> jax.ShapeDtypeStruct:
    struct: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct(tensor.shape, jnp.dtype(tensor.dtype))  # type: ignore[no-untyped-call]  # jax does not annotate it
    return struct
