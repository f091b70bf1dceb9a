"""The bytes of a plan are those of `init` for any spec, tried on random ones."""

import jax
import jax.numpy as jnp
from hypothesis import HealthCheck, Phase, given, settings
from specs_at_random import specs

import optc
from optc.compiler.budget.budget import budget
from optc.compiler.budget.tensors import Tensor, Tree
from optc.compiler.graphs import lowered_graph
from optc.compiler.locate import Located
from optc.grammar.source import Source

TENSORS = (
    Tensor("a/0/kernel", (6, 4), "bfloat16"),
    Tensor("a/bias", (4,)),
    Tensor("cube", (2, 3, 4), "float16"),
    Tensor("scale", ()),
    Tensor("fourth", (4, 4, 2, 2)),
)
WEIGHTS = {t.path: jax.ShapeDtypeStruct(t.shape, jnp.dtype(t.dtype)) for t in TENSORS}


def size(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(specs())
def test_the_bytes_of_a_random_spec_are_those_of_init(text):
    planned = budget(lowered_graph(Located(Source("<random>", text)))[0], Tree.of("t", TENSORS))
    state = jax.eval_shape(optc.compile(text)().init, WEIGHTS)
    slots = {(slot.stage, slot.name): slot.bytes for slot in planned.state.slots}
    assert slots == {(s, n): size(x) for s, kept in state.slots.items() for n, x in kept.items()}
    assert planned.state_bytes == size(state)
