"""What the tests of the library share: its optimizers, compiled once, and a tiny model.

A step of `program(name)` on `make_params()`, `make_batch()` and `SPLIT` is compiled once for the
whole suite, since a program keeps its jitted steps.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import optc
from optc.compiler import library

OPTIMIZERS = library.names("optimizer")


@cache
def program(name):
    """An optimizer of the library."""
    return optc.load(name)


@cache
def staged(*stages, **defaults):
    """The program of a few lines; the keywords are its float hyperparameters."""
    params = ", ".join(f"{name} = {value!r}" for name, value in defaults.items())
    lines = "\n".join(f"  {stage}" for stage in stages)
    return optc.compile(f"optimizer staged({params}) {{\n{lines}\n}}\n")


def make_params(dtype=jnp.float32):
    """Weights of two layers with a scale, and a place that holds nothing."""
    rng = np.random.default_rng(1)
    return {
        "first": {
            "kernel": jnp.asarray(rng.normal(size=(3, 4)), dtype),
            "bias": jnp.zeros(4, dtype),
        },
        "second": jnp.asarray(rng.normal(size=(4, 2)), dtype),
        "scale": jnp.full((), 1.5, dtype),
        "none": None,
    }


def make_batch(dtype=jnp.float32):
    """Five examples. With `root` 0 the gradient is NaN although the loss is finite."""
    rng = np.random.default_rng(2)
    return {
        "x": jnp.asarray(rng.normal(size=(5, 3)), dtype),
        "y": jnp.asarray(rng.normal(size=(5, 2)), dtype),
        "root": jnp.ones((), dtype),
    }


def outputs(params, batch):
    """The model."""
    hidden = jnp.tanh(batch["x"] @ params["first"]["kernel"] + params["first"]["bias"])
    return jnp.sqrt(batch["root"] * params["scale"] ** 2) * (hidden @ params["second"])


def criterion(outputs, batch):
    """The mean square error."""
    return jnp.mean((outputs - batch["y"]) ** 2)


def loss(params, batch):
    """The loss of the model."""
    return criterion(outputs(params, batch), batch)


def drawn(outputs, batch, key):
    """The batch with targets that are drawn around the outputs."""
    return batch | {"y": outputs + jax.random.normal(key, outputs.shape, outputs.dtype)}


def measuring(params, batch):
    """The model, which measures nothing of its layers: none of them is attention."""
    return outputs(params, batch), {}


SPLIT = optc.Objective(
    outputs=measuring, loss=criterion, batch_axis=0, sampler=drawn, aux=True, measured=dict
)


def bits(tree):
    """The arrays of a tree as bytes, for comparison bit by bit."""
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def described(tree):
    """The structure of a tree with shape and dtype of each array."""
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]


def trajectory(optimizer, params, batch, objective, steps):
    """Weights and reports of some steps, stacked, in one compiled program."""

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state, report = optimizer.update(*carry, batch, objective)
            return (params, state), (params, report)

        start = (params, optimizer.init(params))
        return jax.lax.scan(step, start, length=steps)[1]

    return run(params)
