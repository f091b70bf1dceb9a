"""Micro-batches: what all oracles give of a batch in slices is what they give of it as a whole."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

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


def _sampler(outputs, batch, key):
    """Labels that depend on the outputs alone: each slice has a key of its own."""
    return batch | {"y": jnp.sin(3 * outputs["y"])}


SPLIT = rt.Objective(outputs=_model, loss=_loss, batch_axis=0, sampler=_sampler)
WHOLE = rt.Objective(loss=lambda p, batch: _loss(_model(p, batch), batch), batch_axis=0)


def _fields():
    draw = np.random.default_rng(0).normal

    def field():
        tree, tensors = Tree.of({"in": draw(size=(3, 4)), "out": draw(size=(4, 2))})
        return rt.Field(tensors, tree)

    return field(), field(), {"x": draw(size=(6, 3)), "y": draw(size=(6, 2)), "scale": 1.5}


def _everything(objective, w, v, batch):
    """What each oracle gives at a point of its own kind, and with the others."""
    oracles = Oracles(w, objective, batch)
    at_w = oracles.at(w, "loss", "grad", "hvp", "curvature", "examples", "per_example_grad")
    found = [at_w.loss, at_w.grad, at_w.hvp(v), at_w.curvature(v), at_w.examples]
    found.append(at_w.per_example_grad().mean(rt.norm))
    if objective.split:
        asks = ("outputs", "outputs_grad", "sampled_outputs_grad", "pullback", "ggn", "hvp")
        at_v = oracles.at(v, *asks, "ggn_curvature")
        pulled = at_v.pullback(at_v.outputs_grad)
        found += [at_v.outputs, at_v.outputs_grad, pulled, at_v.ggn(w), at_v.hvp(w)]
        found.append(at_v.ggn_curvature(w))
        found.append(at_v.sampled_outputs_grad(jax.random.key(1), 0))
    return found


@pytest.mark.parametrize("objective", [WHOLE, SPLIT], ids=["whole", "split"])
def test_slices_give_what_the_whole_batch_gives(x64, objective):
    sliced = dataclasses.replace(objective, micro_batches=3)
    ask = jax.jit(_everything, static_argnums=0)
    found, expected = ask(sliced, *_fields()), ask(objective, *_fields())
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    a, b = ravel_pytree(found)[0], ravel_pytree(expected)[0]
    np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL)


def test_a_batch_that_does_not_fall_into_slices_is_refused():
    w, _, batch = _fields()
    objective = dataclasses.replace(WHOLE, micro_batches=4)
    with pytest.raises(ValueError, match="6 examples does not fall into 4 micro-batches"):
        Oracles(w, objective, batch).at(w, "loss")


def test_outputs_without_examples_are_refused_where_they_are_asked():
    w, _, batch = _fields()
    objective = rt.Objective(
        outputs=lambda params, batch: {"y": jnp.sum(_model(params, batch)["y"])},
        loss=lambda outputs, batch: jnp.mean(outputs["y"]),
        batch_axis=0,
        micro_batches=3,
    )
    with pytest.raises(ValueError, match=r"outputs `y` of a micro-batch of 2 .* shape \(\)"):
        Oracles(w, objective, batch).at(w, "outputs")
    assert Oracles(w, objective, batch).at(w, "loss", "grad").loss.shape == ()


ON_TWO_DEVICES = """
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from optc import runtime as rt

def loss(params, batch):
    return jnp.mean((batch @ params) ** 2)

mesh = jax.make_mesh((2,), ("d",))
objective = rt.Objective(loss=loss, batch_axis=0, micro_batches=3)
batch = jax.device_put(jnp.ones((12, 4)), NamedSharding(mesh, PartitionSpec("d")))
params = jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec()))

from optc.runtime.oracles import Oracles
from optc.runtime.tree import Tree

def gradient(params, batch):
    tree, tensors = Tree.of(params)
    w = rt.Field(tensors, tree)
    return Oracles(w, objective, batch).at(w, "grad").grad.tensors

text = jax.jit(gradient).lower(params, batch).compile().as_text()
assert "all-reduce" in text
assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
"""


def test_slices_of_a_batch_on_several_devices_stay_where_they_are():
    """The gradients are summed over devices, and no example moves."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_TWO_DEVICES]
    subprocess.run(command, env=os.environ | flags, check=True, cwd=Path(rt.__file__).parents[2])
