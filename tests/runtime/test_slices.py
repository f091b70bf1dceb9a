"""Micro-batches: what all oracles give of a batch in slices is what they give of it as a whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from optc import runtime as rt
from optc.runtime.oracles import Oracles
from optc.runtime.tree import Tree

# Sums of six examples in another order, of some thirty float64 roundings each.
RTOL = 1e-12


def _model(params, batch):
    return {"y": jnp.tanh(batch["x"] @ params["in"]) @ params["out"] * batch["scale"]}


def _loss(outputs, batch):
    return jnp.mean(jnp.sum((outputs["y"] - batch["y"]) ** 4, axis=1))


SPLIT = rt.Objective(outputs=_model, loss=_loss, batch_axis=0)
WHOLE = rt.Objective(loss=lambda p, batch: _loss(_model(p, batch), batch), batch_axis=0)


def _fields():
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {"in": (3, 4), "out": (4, 2)}

    def field(key):
        params = {n: jax.random.normal(key, shape, float) / 2 for n, shape in shapes.items()}
        tree, tensors = Tree.of(params)
        return rt.Field(tensors, tree)

    batch = {
        "x": jax.random.normal(keys[0], (6, 3), float),
        "y": jax.random.normal(keys[1], (6, 2), float),
        "scale": 1.5,
    }
    return field(keys[2]), field(keys[3]), batch


def _everything(objective, w, v, batch):
    """What each oracle gives at a point of its own kind, and with the others."""
    oracles = Oracles(w, objective, batch)
    at_w = oracles.at(w, "loss", "grad", "hvp", "curvature", "examples", "per_example_grad")
    found = [at_w.loss, at_w.grad, at_w.hvp(v), at_w.curvature(v), at_w.examples]
    found.append(at_w.per_example_grad().mean(rt.norm))
    if objective.split:
        at_v = oracles.at(v, "outputs", "outputs_grad", "pullback", "ggn", "hvp")
        pulled = at_v.pullback(at_v.outputs_grad)
        found += [at_v.outputs, at_v.outputs_grad, pulled, at_v.ggn(w), at_v.hvp(w)]
    return found


@pytest.mark.parametrize("objective", [WHOLE, SPLIT], ids=["whole", "split"])
def test_slices_give_what_the_whole_batch_gives(x64, objective):
    sliced = dataclasses.replace(objective, micro_batches=3)
    ask = jax.jit(_everything, static_argnums=0)
    found, expected = ask(sliced, *_fields()), ask(objective, *_fields())
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    a, b = ravel_pytree(found)[0], ravel_pytree(expected)[0]
    np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL)
