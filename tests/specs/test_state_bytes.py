"""What an optimizer keeps between steps takes as many bytes as what its twin in optax keeps.

The fields of both states are compared, arrays of at least one axis on weights that have several:
how many there are of each shape and dtype. Scalars are apart. Ours has its float hyperparameters,
its count and its scalar states; optax has a count for each of its stages.
"""

from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from claims import claimed, claims, kind, settings
from shipped import program

WEIGHTS = {
    "kernel": jax.ShapeDtypeStruct((256, 384), jnp.float32),
    "half": jax.ShapeDtypeStruct((3, 5, 7), jnp.bfloat16),
    "bias": jax.ShapeDtypeStruct((384,), jnp.float32),
}
OPTIMIZERS = [item for item in claims() if kind(item) == "optimizer"]

DIFFERENT = {
    # Optax keeps this momentum in float32, ours has the dtype of the weights.
    "adafactor_momentum": -2 * 3 * 5 * 7,
    # Optax has its six guesses in arrays, and in the narrowest dtype; ours are scalars.
    "mechanic_adamw": -4 * 6 * 2,
    "mechanic_sgd": -4 * 6 * 2,
    # Optax has the coefficients of the iteration in its state.
    "muon_optax": -4 * 3,
    "muon_optax_rms": -4 * 3,
    "muon_optax_dion": -4 * 3 * 5,
}
"""Where the states differ, and why: ours less theirs in bytes."""


def fields(tx):
    """The arrays of a fresh state by shape and dtype; scalars and empty ones left out."""
    state = jax.eval_shape(tx.init, WEIGHTS)
    return Counter((x.shape, str(x.dtype)) for x in jax.tree.leaves(state) if x.ndim and x.size > 1)


def size(arrays):
    """Their bytes."""
    return sum(
        number * jax.ShapeDtypeStruct(shape, dtype).size * jnp.dtype(dtype).itemsize
        for (shape, dtype), number in arrays.items()
    )


@pytest.mark.parametrize("item", OPTIMIZERS, ids=lambda item: item.name.id)
def test_a_state_is_as_large_as_that_of_its_twin(item):
    chosen = settings(item, usual=True)
    ours = fields(program(item.name.id)(**chosen).transform())
    theirs = fields(claimed(item, chosen))
    assert size(ours) - size(theirs) == DIFFERENT.get(item.name.id, 0), (ours, theirs)
