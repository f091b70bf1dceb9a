"""The two factors of a layer's block of the Fisher matrix (K-FAC, arXiv:1503.05671).

A dense layer z = x W has the gradient sum x'e over its places, with e the derivative of an
example's loss in z. Where x and e are independent, the second moment of this is the Kronecker
product of that of x, summed over the places, and that of e, meaned over them. Labels are drawn from
the model, so it is the Fisher matrix. The layout of W decides which factor meets its rows.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp

from .field import scalar_dtype
from .layers import Layer, Tap, adding, keeping, noting, run
from .tree import PyTree

Side: TypeAlias = Literal[0, 1]
"""The rows of a weight, or its columns."""

Model: TypeAlias = Callable[[tuple[jax.Array, ...]], PyTree]
"""The outputs of a model for one example, by the tensors of its weights."""


class NoLayerError(ValueError):
    """A weight that is no dense layer's matrix: its number, and why."""

    def __init__(self, weight: int, why: str) -> None:
        super().__init__(why)
        self.weight = weight
        self.why = why


def rows(
    model: Model,
    slope: Callable[[PyTree], PyTree],
    weights: tuple[jax.Array, ...],
    side: Side,
    wanted: tuple[bool, ...],
) -> tuple[jax.Array | None, ...]:
    """For one example and each weight that is wanted, what meets one of its sides: [places, side].

    `slope` gives the derivative of the example's loss in the model's outputs, under drawn labels.
    Derivatives are divided by the root of the number of places, so that a factor is a sum over
    places always. Raises NoLayerError for a weight that is wanted and is no layer's matrix.
    """
    closed, shape = jax.make_jaxpr(model, return_shape=True)(weights)
    taps: list[Tap] = []
    jax.eval_shape(lambda: run(closed, weights, noting(taps)))
    layers = _layers([tap.layer for tap in taps], wanted)

    def tapped(added: list[jax.Array]) -> tuple[list[Any], list[jax.Array]]:
        inputs: list[jax.Array] = []
        outputs = run(closed, weights, keeping(inputs, adding(added)), inputs)
        return outputs, inputs

    zeros = [jnp.zeros(tap.shape, tap.dtype) for tap in taps]
    outputs, pull, inputs = jax.vjp(tapped, zeros, has_aux=True)
    tree = jax.tree.structure(shape)
    (slopes,) = pull(jax.tree.leaves(slope(jax.tree.unflatten(tree, outputs))))

    def of(weight: int, layer: Layer) -> jax.Array:
        meets_inputs = (side == 0) == (layer.inputs == (0,))
        met = inputs if meets_inputs else slopes
        parts = [
            _last(x, tap.layer.summed if meets_inputs else tap.layer.places)
            for x, tap in zip(met, taps, strict=True)
            if tap.layer.weight == weight
        ]
        found = jnp.concatenate(parts).astype(scalar_dtype())
        return found if meets_inputs else found / math.sqrt(len(found))

    return tuple(of(i, layers[i]) if i in layers else None for i in range(len(weights)))


def moment(rows: jax.Array) -> jax.Array:
    """The mean over examples of a sum over places, [examples, places, n], of outer products."""
    flat = rows.reshape(-1, rows.shape[-1])
    product: jax.Array = jnp.matmul(flat.T, flat, precision="highest")
    return product / len(rows)


def no_layer(path: str, why: str, stage: str) -> str:
    """What a caller hears of a weight that is no layer's matrix."""
    return (
        f"{stage} asks for the Fisher matrix of the layer of `{path}`, and {why}; "
        "leave the tensor to another rule, by `where` or by `when`"
    )


def _layers(found: list[Layer], wanted: tuple[bool, ...]) -> Mapping[int, Layer]:
    """The layer of each weight that is wanted."""
    layers: dict[int, Layer] = {}
    for weight, asked in enumerate(wanted):
        own = [layer for layer in found if layer.weight == weight]
        if not asked:
            continue
        if not own:
            why = "the model multiplies nothing by it where that can be seen: a loop hides it"
            raise NoLayerError(weight, why)
        if len({layer.units for layer in own}) > 1:
            raise NoLayerError(weight, "the model multiplies by it from both sides")
        (first, *_) = own
        if len(first.inputs) != 1 or len(first.units) != 1:
            raise NoLayerError(weight, "it is no matrix of a dense layer")
        layers[weight] = first
    return layers


def _last(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """A row for each place, along the one axis."""
    (axis,) = axes
    return jnp.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
