"""What an evaluation holds and computes, as XLA counts it before anything runs.

The unit of bytes is one layer's activations, and of operations one product of the batch with one
kernel. A model of L layers of one width then has in a gradient 3 L - 1 products: forward, the
kernels, and the inputs of all layers but the first.
"""

import dataclasses
import gc

import jax
import jax.numpy as jnp
import pytest
from perceptron import mean_square, perceptron

from optc import runtime as rt
from optc.runtime.oracles import Oracles
from optc.runtime.tree import Tree

LAYERS, WIDTH, EXAMPLES = 3, 32, 1024
SLICES = 8

OBJECTIVE = rt.Objective(outputs=perceptron, loss=mean_square, batch_axis=0)
IN_SLICES = dataclasses.replace(OBJECTIVE, micro_batches=SLICES)


def _field(params):
    tree, tensors = Tree.of(params)
    return rt.Field(tensors, tree)


def _costs(objective, ask):
    """The bytes beside arguments and results, and the operations, of what is asked."""

    def asked(w, v, batch):
        return ask(Oracles(_field(w), objective, batch), _field(w), _field(v))

    weights = [jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)] * LAYERS
    batch = {name: jax.ShapeDtypeStruct((EXAMPLES, WIDTH), jnp.float32) for name in "xy"}
    compiled = jax.jit(asked).lower(weights, weights, batch).compile()
    held = compiled.memory_analysis().temp_size_in_bytes / (EXAMPLES * WIDTH * 4)
    return held, compiled.cost_analysis()["flops"] / (2 * EXAMPLES * WIDTH**2)


def _gradient(oracles, w, v):
    return oracles.at(w, "loss", "grad").grad


def _products(oracles, w, v):
    at_w = oracles.at(w, "loss", "grad", "ggn", "hvp")
    (v,) = rt.repeat(10, lambda i, v: (at_w.ggn(v),), (v,))
    return at_w.grad, v


def _examples(oracles, w, v):
    return oracles.at(w, "per_example_grad").per_example_grad().mean(rt.norm)


@pytest.mark.parametrize("ask", [_gradient, _products, _examples], ids=lambda ask: ask.__name__)
def test_slices_take_the_memory_of_a_slice(ask):
    whole, _ = _costs(OBJECTIVE, ask)
    sliced, _ = _costs(IN_SLICES, ask)
    # The sum of the gradients, that of one slice, and the tensors of the loop.
    weights = LAYERS * WIDTH / EXAMPLES
    assert sliced <= whole / SLICES + 4 * weights


def test_products_in_a_loop_do_not_evaluate_the_model_again():
    """XLA counts the body of a loop once: what is outside, and one product inside.

    J v and J'c have a product for the inputs and one for the kernels of each layer, but for the
    inputs of the first. The Hessian, which is asked too and not used, shares all and adds nothing.
    """
    _, found = _costs(OBJECTIVE, _products)
    gradient, product = 3 * LAYERS - 1, 2 * (2 * LAYERS - 1)
    # Some twenty operations for each activation, against 2 WIDTH in one product.
    assert gradient + product <= found <= gradient + product + 20 * LAYERS / (2 * WIDTH)


@pytest.mark.parametrize(
    ("remat", "layers"),
    [
        # Of a hidden layer its value, for the kernel above it, and the slope of its tanh.
        (False, 2 * (LAYERS - 1)),
        (True, 0),
        # The products that a policy keeps, of which those of the hidden layers are asked again.
        (jax.checkpoint_policies.dots_saveable, LAYERS - 1),
    ],
    ids=["kept", "nothing", "by a policy"],
)
def test_remat_says_what_a_point_holds_for_its_derivatives(remat, layers):
    """Outside jit, where the arrays that are alive can be counted."""
    objective = dataclasses.replace(OBJECTIVE, remat=remat)
    w = _field([jnp.ones((WIDTH, WIDTH))] * LAYERS)
    batch = {name: jnp.ones((EXAMPLES, WIDTH)) for name in "xy"}

    def alive():
        gc.collect()
        return sum(x.size for x in jax.live_arrays()) / (EXAMPLES * WIDTH)

    before = alive()
    point = Oracles(w, objective, batch).at(w, "outputs", "pullback")
    held = alive() - before - point.outputs.tensors[0].size / (EXAMPLES * WIDTH)
    assert abs(held - layers) <= 2 * LAYERS * WIDTH / EXAMPLES
