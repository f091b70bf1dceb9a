"""Where a model multiplies by its weights.

A model is traced, and each product or convolution of a weight with the layer's input is found. A
weight is seen as a matrix: the axes that stay in the product are its units, those that are summed
its inputs. Of products inside loops nothing is known.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
from jax.extend import core


class Layer(NamedTuple):
    """A product with a weight: which one, and its axes of units and of inputs.

    `places` are the axes of the result that are its units, `summed` those of the layer's input that
    meet its inputs, in their order; a convolution has neither inputs nor these.
    """

    weight: int
    units: tuple[int, ...]
    places: tuple[int, ...]
    inputs: tuple[int, ...] = ()
    summed: tuple[int, ...] = ()


class Tap(NamedTuple):
    """What may be added to the result of a product: its shape and dtype."""

    layer: Layer
    shape: tuple[int, ...]
    dtype: Any


Visit: TypeAlias = Callable[[Any, Layer, Any], Any]
"""Is given each product with a weight, its layer and the layer's input, and gives what goes on."""


def noting(taps: list[Tap]) -> Visit:
    """Notes where something could be added."""

    def visit(product: Any, layer: Layer, _: Any) -> Any:
        taps.append(Tap(layer, product.shape, product.dtype))
        return product

    return visit


def adding(taps: Sequence[jax.Array]) -> Visit:
    """Adds to each product its tap: they come in the order in which they were noted."""
    left = iter(taps)
    return lambda product, _, __: product + next(left)


def keeping(inputs: list[jax.Array], visit: Visit) -> Visit:
    """Puts the input of each layer into a list, and does what another visit does."""

    def keep(product: Any, layer: Layer, given: Any) -> Any:
        inputs.append(given)
        return visit(product, layer, given)

    return keep


def run(
    closed: Any, weights: Sequence[Any], visit: Visit, kept: list[jax.Array] | None = None
) -> list[Any]:
    """The model's outputs, with what `visit` makes of each product with a weight.

    `kept` is the list into which it puts arrays, if it does, which have to leave checkpoints.
    """
    marks = [_Mark(i, tuple(range(x.ndim))) for i, x in enumerate(weights)]
    walk = _Walk(visit, [] if kept is None else kept)
    found, _ = _inside(closed, list(weights), marks, walk)
    return found


class _Walk(NamedTuple):
    """What is done at each product, and the list of what it keeps."""

    visit: Visit
    kept: list[jax.Array]


class _Mark(NamedTuple):
    """That a value is a weight, and which of the weight's axes each of its own is."""

    weight: int
    axes: tuple[int, ...]


_Marks: TypeAlias = Sequence[_Mark | None]


def _inside(
    closed: Any, values: list[Any], marks: _Marks, walk: _Walk
) -> tuple[list[Any], list[_Mark | None]]:
    """The results of a traced function, and which weight each value is, if it is one."""
    jaxpr = closed.jaxpr
    known = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    known |= zip(jaxpr.invars, values, strict=True)
    marked = dict(zip(jaxpr.invars, marks, strict=True))

    def value(var: Any) -> Any:
        return var.val if isinstance(var, core.Literal) else known[var]

    def mark(var: Any) -> _Mark | None:
        return None if isinstance(var, core.Literal) else marked.get(var)

    for eqn in jaxpr.eqns:
        which = [mark(v) for v in eqn.invars]
        own: list[_Mark | None]
        if eqn.primitive.name in (*_CALLS, *_CHECKPOINTS) and any(which):
            inputs = [value(v) for v in eqn.invars]
            results, own = _called(eqn, inputs, which, walk)
        else:
            results, own = _executed(jaxpr, eqn, known), [_kept(eqn, which)]
            if (layer := _layer(eqn, which)) is not None:
                other = eqn.invars[0 if which[0] is None else 1]
                results = [walk.visit(results[0], layer, value(other))]
        known.update(zip(eqn.outvars, results, strict=True))
        marked.update(zip(eqn.outvars, own, strict=False))
    return [value(v) for v in jaxpr.outvars], [mark(v) for v in jaxpr.outvars]


_CALLS = ("jit", "pjit")
_CHECKPOINTS = ("checkpoint", "remat2")


def _called(
    eqn: Any, inputs: list[Any], marks: _Marks, walk: _Walk
) -> tuple[list[Any], list[_Mark | None]]:
    """What `_inside` gives of a function inside; a checkpoint stays one."""
    body = eqn.params["jaxpr"]
    if eqn.primitive.name in _CALLS:
        return _inside(body, inputs, marks, walk)
    found: list[_Mark | None] = []

    def run(inputs: list[Any]) -> tuple[list[Any], list[jax.Array]]:
        before = len(walk.kept)
        results, found[:] = _inside(core.ClosedJaxpr(body, ()), inputs, marks, walk)
        own = walk.kept[before:]
        del walk.kept[before:]
        return results, own

    again = jax.checkpoint(run, policy=eqn.params["policy"], prevent_cse=eqn.params["prevent_cse"])
    results, own = again(inputs)
    walk.kept.extend(own)
    return results, found


def _executed(jaxpr: Any, eqn: Any, known: Mapping[Any, Any]) -> list[Any]:
    """The results of one operation, as JAX runs a function that is nothing else."""
    variables = (var for var in eqn.invars if not isinstance(var, core.Literal))
    given = list(dict.fromkeys(variables))
    alone = jaxpr.replace(
        constvars=[], invars=given, outvars=eqn.outvars, eqns=[eqn], effects=eqn.effects
    )
    run = core.jaxpr_as_fun(core.ClosedJaxpr(alone, []))
    return list(run(*(known[var] for var in given)))


def _kept(eqn: Any, marks: _Marks) -> _Mark | None:
    """Which weight the result of an operation still is."""
    mark = marks[0] if marks else None
    match eqn.primitive.name:
        case "convert_element_type":
            return mark
        case "transpose" if mark is not None:
            return _Mark(mark.weight, tuple(mark.axes[i] for i in eqn.params["permutation"]))
        case _:
            return None


def _layer(eqn: Any, marks: _Marks) -> Layer | None:
    """Which weight an operation is a layer of; None where it is none."""
    match eqn.primitive.name:
        case "dot_general":
            return _product(eqn, marks)
        case "conv_general_dilated":
            return _convolution(eqn, marks)
        case _:
            return None


def _product(eqn: Any, marks: _Marks) -> Layer | None:
    summed, batch = eqn.params["dimension_numbers"]
    for side in (0, 1):
        mark = marks[side]
        if mark is not None and marks[1 - side] is None and not any(batch):
            stay = [i for i in range(len(mark.axes)) if i not in summed[side]]
            # The axes of the result are those of the left side that stay, then of the right.
            first = 0 if side == 0 else eqn.outvars[0].aval.ndim - len(stay)
            places = tuple(range(first, first + len(stay)))
            is_matrix = stay and summed[side]
            units = tuple(mark.axes[i] for i in stay)
            inputs = tuple(mark.axes[i] for i in summed[side])
            layer = Layer(mark.weight, units, places, inputs, tuple(summed[1 - side]))
            return layer if is_matrix else None
    return None


def _convolution(eqn: Any, marks: _Marks) -> Layer | None:
    image, kernel = marks
    groups = eqn.params["feature_group_count"] * eqn.params["batch_group_count"]
    if kernel is None or image is not None or groups > 1:
        return None
    axes = eqn.params["dimension_numbers"]
    return Layer(kernel.weight, (kernel.axes[axes.rhs_spec[0]],), (axes.out_spec[1],))
