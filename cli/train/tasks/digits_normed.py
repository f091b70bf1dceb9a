"""The digits, and a perceptron with batch norm and dropout: a model with a state and a key."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from ....runtime import Objective
from .digits import CLASSES, PIXELS, cross_entropy, dense, images, shuffled
from .task import Batch, Params, Task

_KEPT = 0.8
"""The share of the hidden units that a step sees."""
_MEMORY = 0.9
"""The weight of the averages of batch norm beside those of a new batch."""
_EPS = 1e-5


def digits_normed(batch_size: int = 64, hidden: int = 128) -> Task:
    """The task with a hidden layer of this width."""
    training, held_out = images()

    def init(key: Array) -> Params:
        keys = jax.random.split(key)
        normed = {"scale": jnp.ones(hidden), "shift": jnp.zeros(hidden)}
        # Batch norm takes the mean away, and with it what a bias would add.
        layer = {"kernel": dense(keys[0], PIXELS, hidden)["kernel"]}
        return {"in": layer, "norm": normed, "head": dense(keys[1], hidden, CLASSES)}

    evaluated = {name: jnp.asarray(array) for name, array in held_out.items()}

    @jax.jit
    def evaluate(params: Params, model_state: Params | None) -> dict[str, Array]:
        before = evaluated["pixels"] @ params["in"]["kernel"]
        averages = _fresh(hidden) if model_state is None else model_state
        logits = _head(params, jax.nn.relu(_normed(params, before, averages)))
        hits = jnp.argmax(logits, axis=-1) == evaluated["labels"]
        return {"loss": cross_entropy(logits, evaluated), "accuracy": jnp.mean(hits)}

    return Task(
        name="digits_normed",
        objective=Objective(
            outputs=_logits, loss=cross_entropy, key=True, model_state=True, batch_axis=0
        ),
        init=init,
        draw=shuffled(training, batch_size),
        batch_size=batch_size,
        examples=len(training["labels"]),
        evaluate=evaluate,
        default_steps=500,
        model_state=_fresh(hidden),
    )


def _fresh(hidden: int) -> Params:
    return {"mean": jnp.zeros(hidden), "variance": jnp.ones(hidden)}


def _logits(
    params: Params, batch: Batch, *, key: Array, model_state: Params
) -> tuple[Array, Params]:
    """The logits of a training pass, normed by the batch, and the averages after it."""
    before = batch["pixels"] @ params["in"]["kernel"]
    seen = {"mean": jnp.mean(before, axis=0), "variance": jnp.var(before, axis=0)}
    units = jax.nn.relu(_normed(params, before, seen))
    kept = jax.random.bernoulli(key, _KEPT, units.shape)
    averages = jax.tree.map(
        lambda old, new: _MEMORY * old + (1 - _MEMORY) * lax.stop_gradient(new), model_state, seen
    )
    return _head(params, jnp.where(kept, units / _KEPT, 0.0)), averages


def _normed(params: Params, x: Array, moments: Params) -> Array:
    normed = (x - moments["mean"]) * lax.rsqrt(moments["variance"] + _EPS)
    scaled: Array = params["norm"]["scale"] * normed + params["norm"]["shift"]
    return scaled


def _head(params: Params, units: Array) -> Array:
    logits: Array = units @ params["head"]["kernel"] + params["head"]["bias"]
    return logits
