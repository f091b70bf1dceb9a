"""The outputs of a model as a field: one tensor for each array that it gives.

So arithmetic, reductions and loops act on outputs as they do on fields of the weights.
"""

import jax
import jax.numpy as jnp

from .field import Field, cast, widen
from .tree import PyTree, Tree, path_text


def check_outputs(outputs: PyTree) -> None:
    """Raise TypeError for an array of a model's outputs that is not of floats, naming it."""
    for keys, x in jax.tree_util.tree_leaves_with_path(outputs):
        dtype = jnp.result_type(x)
        if not jnp.issubdtype(dtype, jnp.floating):
            place = path_text(keys)
            name = f"model output `{place}`" if place else "the model's output"
            raise TypeError(f"{name} has dtype {dtype}; a loss has derivatives in floats only")


def outputs_field(outputs: PyTree) -> Field:
    """Outputs as a step computes with them."""
    tree, tensors = Tree.of(outputs, "model output")
    return Field([widen(x) for x in tensors], tree)


def outputs_tree(field: Field) -> PyTree:
    """A field of that kind as the model gives its outputs, in their own dtypes."""
    pairs = zip(field.tensors, field.tree.leaves, strict=True)
    return field.tree.unflatten([cast(x, leaf.dtype) for x, leaf in pairs])
