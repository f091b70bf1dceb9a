"""The StableHLO text of one step, lowered for every platform on a small linear model."""

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ..api.programs import run
from ..compiler.driver import Compiled
from ..compiler.questions import measurements
from ..runtime import Objective, State

PLATFORMS = ("cpu", "cuda", "tpu")
"""What the text is lowered for; none of them needs to be present."""

_BATCH, _INPUTS, _CLASSES = 16, 8, 4

Params = dict[str, Array]
Batch = dict[str, Array]


def lower(compiled: Compiled) -> str:
    """The module text of one step on a softmax model: kernel f32[8, 4], bias f32[4], 16 examples.

    The objective is split into outputs and loss, so that every oracle is available.
    """
    optimizer = run(compiled)()
    measured = {name: jnp.zeros(()) for name in measurements(compiled.graph)}
    objective = Objective(
        outputs=lambda params, batch: (_outputs(params, batch), measured),
        loss=_loss,
        batch_axis=0,
        sampler=_drawn,
        aux=True,
        measured=lambda aux: aux,
    )
    params = {"kernel": jnp.zeros((_INPUTS, _CLASSES)), "bias": jnp.zeros(_CLASSES)}
    batch = {"inputs": jnp.zeros((_BATCH, _INPUTS)), "labels": jnp.zeros(_BATCH, jnp.int32)}

    @jax.jit
    def step(params: Params, state: State, batch: Batch) -> object:
        return optimizer.update(params, state, batch, objective)

    state = jax.eval_shape(optimizer.init, params)
    # Not jax.export: its text names the source files of this machine.
    lowered = step.trace(params, state, batch).lower(lowering_platforms=PLATFORMS)
    return str(lowered.as_text())


def _outputs(params: Params, batch: Batch) -> Array:
    return batch["inputs"] @ params["kernel"] + params["bias"]


def _drawn(outputs: Array, batch: Batch, key: Array) -> Batch:
    return batch | {"labels": jax.random.categorical(key, outputs)}


def _loss(outputs: Array, batch: Batch) -> Array:
    losses: Array = optax.softmax_cross_entropy_with_integer_labels(outputs, batch["labels"])
    return losses.mean()
