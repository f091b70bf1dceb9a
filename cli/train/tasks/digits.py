"""Scikit-learn's 1,797 real images of handwritten digits, and a multilayer perceptron."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from sklearn.datasets import load_digits

from ....runtime import Objective
from .task import Batch, Params, Task

PIXELS, CLASSES = 64, 10
_HELD_OUT = 360
"""Images that training never sees: a fifth, chosen once for all seeds."""


def digits(batch_size: int = 64, hidden: tuple[int, ...] = (128, 128)) -> Task:
    """The task with hidden layers of these widths."""
    training, held_out = images()

    def init(key: Array) -> Params:
        widths = (PIXELS, *hidden, CLASSES)
        keys = jax.random.split(key, len(widths) - 1)
        *layers, head = map(dense, keys, widths, widths[1:])
        return {**{f"layer_{i}": layer for i, layer in enumerate(layers)}, "head": head}

    evaluated = {name: jnp.asarray(array) for name, array in held_out.items()}

    @jax.jit
    def evaluate(params: Params, model_state: Params | None) -> dict[str, Array]:
        logits = _logits(params, evaluated)
        hits = jnp.argmax(logits, axis=-1) == evaluated["labels"]
        return {"loss": cross_entropy(logits, evaluated), "accuracy": jnp.mean(hits)}

    return Task(
        name="digits",
        objective=Objective(outputs=_logits, loss=cross_entropy, batch_axis=0, sampler=drawn),
        init=init,
        draw=shuffled(training, batch_size),
        evaluate=evaluate,
        default_steps=500,
        batch_size=batch_size,
        examples=len(training["labels"]),
    )


def images() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What to train on and what to hold out; pixels between 0 and 1."""
    pixels, labels = load_digits(return_X_y=True)
    images = {"pixels": (pixels / 16.0).astype(np.float32), "labels": labels.astype(np.int32)}
    order = np.random.default_rng(0).permutation(len(labels))
    training, held_out = order[_HELD_OUT:], order[:_HELD_OUT]
    return (
        {name: array[training] for name, array in images.items()},
        {name: array[held_out] for name, array in images.items()},
    )


def shuffled(training: dict[str, np.ndarray], batch_size: int) -> Callable[[int, int, int], Batch]:
    """The batches of a run: all images in another order in each epoch.

    ValueError where there are fewer images than the first batch has. Each size has epochs of its
    own, counted as if all steps had it.
    """
    examples = len(training["labels"])
    if batch_size > examples:
        raise ValueError(f"batch_size is {batch_size}; there are {examples} images to train on")

    def draw(seed: int, step: int, size: int) -> Batch:
        epoch, place = divmod(step, examples // size)
        order = np.random.default_rng([seed, epoch]).permutation(examples)
        chosen = order[place * size : (place + 1) * size]
        return {name: jnp.asarray(array[chosen]) for name, array in training.items()}

    return draw


def dense(key: Array, inputs: int, outputs: int) -> Params:
    """A layer whose outputs keep the size of its inputs behind a rectifier."""
    kernel = jax.random.normal(key, (inputs, outputs)) * (2.0 / inputs) ** 0.5
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def _logits(params: Params, batch: Batch) -> Array:
    x = batch["pixels"]
    for i in range(len(params) - 1):
        layer = params[f"layer_{i}"]
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    logits: Array = x @ params["head"]["kernel"] + params["head"]["bias"]
    return logits


def cross_entropy(logits: Array, batch: Batch) -> Array:
    """The mean over the images of minus the logarithm of what is given to their labels."""
    losses: Array = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"])
    return losses.mean()


def drawn(logits: Array, batch: Batch, key: Array) -> Batch:
    """The batch with labels that the model draws."""
    return batch | {"labels": jax.random.categorical(key, logits)}
