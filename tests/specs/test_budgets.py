"""The bytes of a plan are those of `init`, to the last one, for every optimizer of the library."""

import jax
import jax.numpy as jnp
import pytest
from shipped import program

from optc.compiler import library
from optc.compiler.budget.budget import budget
from optc.compiler.budget.tensors import Tensor, Tree
from optc.compiler.graphs import lowered_graph
from optc.compiler.locate import find

TENSORS = (
    Tensor("block/0/kernel", (6, 4), "bfloat16"),
    Tensor("block/0/bias", (4,), "float32"),
    Tensor("block/1/kernel", (3, 2, 2, 8), "float32"),
    Tensor("embed", (10, 4), "float16"),
    Tensor("row", (1, 7), "float32"),
    Tensor("cube", (2, 3, 5), "bfloat16"),
    Tensor("scale", (), "float32"),
    Tensor("half", (), "bfloat16"),
    Tensor("none_of_it", (0, 3), "float32"),
)
TREE = Tree.of("tree", TENSORS)
WEIGHTS = {t.path: jax.ShapeDtypeStruct(t.shape, jnp.dtype(t.dtype)) for t in TENSORS}


def size(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def measured(name, weights=WEIGHTS):
    """What `init` would allocate: whole, and each slot."""
    state = jax.eval_shape(program(name)().init, weights)
    return size(state), {
        (s, n): size(x) for s, slots in state.slots.items() for n, x in slots.items()
    }


@pytest.mark.parametrize("name", library.names("optimizer"))
def test_the_bytes_are_those_of_init(name):
    total, slots = measured(name)
    planned = budget(lowered_graph(find(name))[0], TREE)
    assert {(slot.stage, slot.name): slot.bytes for slot in planned.state.slots} == slots
    assert planned.state_bytes == total
