"""Characters of the Python standard library's own sources, and a small decoder-only transformer."""

import sysconfig
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ....runtime import Objective
from .task import Batch, Params, Task

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""The characters with a number of their own; all others share the number after the last."""

_BYTES = 1_500_000
_HELD_OUT = 100_000
_EVALUATED = 64
"""How many held-out windows an evaluation looks at: the same ones each time."""


def text(
    batch_size: int = 16,
    *,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    context: int = 64,
) -> Task:
    """The task with a pre-norm transformer of this size that predicts the next character."""
    corpus = _corpus()
    training, held_out = corpus[:-_HELD_OUT], corpus[-_HELD_OUT:]
    logits = partial(_logits, heads=heads)
    evaluated = _windows(
        held_out, np.linspace(0, _HELD_OUT - context - 1, _EVALUATED, dtype=int), context
    )

    def draw(seed: int, step: int, size: int) -> Batch:
        last = len(training) - context - 1
        starts = np.random.default_rng([seed, step]).integers(0, last, size=size)
        return _windows(training, starts, context)

    @jax.jit
    def evaluate(params: Params, model_state: Params | None) -> dict[str, Array]:
        outputs = logits(params, evaluated)
        hits = jnp.argmax(outputs, axis=-1) == evaluated["targets"]
        return {"loss": _loss(outputs, evaluated), "accuracy": jnp.mean(hits)}

    return Task(
        name="text",
        objective=Objective(outputs=logits, loss=_loss, batch_axis=0, sampler=_drawn),
        init=partial(_init, layers=layers, width=width, context=context),
        draw=draw,
        evaluate=evaluate,
        default_steps=500,
        batch_size=batch_size,
    )


@cache
def _corpus() -> np.ndarray:
    """The first files of the library by name, as numbers of characters."""
    read = bytearray()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        read += path.read_bytes()
        if len(read) >= _BYTES:
            break
    numbers = np.full(256, len(ALPHABET), np.int32)
    numbers[[ord(character) for character in ALPHABET]] = np.arange(len(ALPHABET))
    return numbers[np.frombuffer(bytes(read[:_BYTES]), np.uint8)]


def _windows(corpus: np.ndarray, starts: np.ndarray, context: int) -> Batch:
    """The windows that begin at `starts`; a target is the character after its input."""
    windows = corpus[starts[:, None] + np.arange(context + 1)]
    return {"inputs": jnp.asarray(windows[:, :-1]), "targets": jnp.asarray(windows[:, 1:])}


# ---- the model: params is a tree of dictionaries, one for each layer


def _init(key: Array, *, layers: int, width: int, context: int) -> Params:
    """Normal weights; those that write into the residual stream are smaller by its depth.

    Source: Radford et al. 2019, section 2.3 (GPT-2).
    """
    characters = len(ALPHABET) + 1
    keys = iter(jax.random.split(key, 3 + 4 * layers))

    def normal(*shape: int, scale: float = 0.02) -> Array:
        return scale * jax.random.normal(next(keys), shape)

    def layer() -> Params:
        into_stream = 0.02 / (2 * layers) ** 0.5
        return {
            "attention_norm": _norm_init(width),
            "attention_in": normal(width, 3 * width),
            "attention_out": normal(width, width, scale=into_stream),
            "mlp_norm": _norm_init(width),
            "mlp_in": normal(width, 4 * width),
            "mlp_out": normal(4 * width, width, scale=into_stream),
        }

    return {
        "embed": {"characters": normal(characters, width), "positions": normal(context, width)},
        **{f"layer_{i}": layer() for i in range(layers)},
        "last_norm": _norm_init(width),
        "head": normal(width, characters),
    }


def _logits(params: Params, batch: Batch, *, heads: int) -> Array:
    """The logits of the next character, [batch, context, characters]."""
    inputs = batch["inputs"]
    tables = params["embed"]
    x = tables["characters"][inputs] + tables["positions"][: inputs.shape[1]]
    for i in range(sum(name.startswith("layer_") for name in params)):
        layer = params[f"layer_{i}"]
        x = x + _attention(layer, _norm(layer["attention_norm"], x), heads)
        x = x + jax.nn.gelu(_norm(layer["mlp_norm"], x) @ layer["mlp_in"]) @ layer["mlp_out"]
    logits: Array = _norm(params["last_norm"], x) @ params["head"]
    return logits


def _attention(layer: Params, x: Array, heads: int) -> Array:
    """Causal self-attention; every position sees itself and what came before."""
    batch, context, width = x.shape
    split = (x @ layer["attention_in"]).reshape(batch, context, 3, heads, width // heads)
    query, key, value = jnp.moveaxis(split, 2, 0)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / (width // heads) ** 0.5
    # A finite number, so that no derivative of any order meets inf - inf.
    scores = jnp.where(jnp.tri(context, dtype=bool), scores, -1e9)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)
    out: Array = mixed.reshape(batch, context, width) @ layer["attention_out"]
    return out


def _norm_init(width: int) -> Params:
    return {"scale": jnp.ones(width), "bias": jnp.zeros(width)}


def _norm(norm: Params, x: Array) -> Array:
    scaled: Array = jax.nn.standardize(x, epsilon=1e-5) * norm["scale"] + norm["bias"]
    return scaled


def _loss(logits: Array, batch: Batch) -> Array:
    losses: Array = optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
    return losses.mean()


def _drawn(logits: Array, batch: Batch, key: Array) -> Batch:
    """The batch with characters that the model draws as its targets."""
    return batch | {"targets": jax.random.categorical(key, logits)}
