"""Whether all numbers are finite is asked of a sum, with the same answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_same, graph_of, interpret
from tried import Model, net, spiked

import optc
from optc.compiler.graph import index
from optc.compiler.passes.finite import finite
from optc.compiler.verify import verify


def ops(graph):
    return {node.op for node in index(graph).values()}


@pytest.mark.parametrize("value", [-np.inf, np.nan, 1e308])
def test_the_answer_is_the_same(value):
    plain = graph_of("optimizer one() { guard finite() tune step 0.1 }")
    asked = verify(finite(plain))
    assert ops(plain) - ops(asked) == {"all"}
    (inputs, targets), *others = net().batches
    inputs = np.where(np.arange(inputs.size).reshape(inputs.shape) == 1, value, inputs)
    model = Model(net().params, ((inputs, targets), *others), net().outputs, net().loss)
    one, other = (interpret(graph, model, steps=2) for graph in (asked, plain))
    assert_same(one, other, rtol=0, atol=0)
    assert finite(asked) == asked


@pytest.mark.parametrize(
    "condition",
    ["any(not isfinite(g))", "all(g > 0)", "isfinite(norm(g))"],
)
def test_what_asks_otherwise_stays(condition):
    plain = graph_of(
        f"optimizer one() {{ precondition own() tune step 0.1 }}\n"
        f"rule precondition own() {{ return where({condition}, g, 0) }}"
    )
    assert finite(plain) == plain


def test_a_group_without_tensors_is_finite():
    text = """
    rule precondition own() { return where(all(isfinite(g)), g, 0) }
    optimizer one() {
      group none where ndim > 9 { precondition own() tune step 0.1 }
      group rest { tune step 0.1 }
    }
    """
    plain = graph_of(text)
    one, other = (interpret(graph, spiked(), steps=2) for graph in (finite(plain), plain))
    assert_same(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_compiled_programs_find_one_number_among_many(value):
    """XLA reduces 4096 numbers in another way than few."""
    text = "optimizer one() { guard finite() tune step 1 }"
    chain = optc.compile(text)().transform()
    weights = jnp.ones((64, 64))
    updates, _ = jax.jit(chain.update)(weights.at[3, 4].set(value), chain.init(weights), weights)
    assert not updates.any()
    updates, _ = jax.jit(chain.update)(weights, chain.init(weights), weights)
    assert updates.all()
