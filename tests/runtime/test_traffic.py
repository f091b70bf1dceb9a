"""The memory traffic of one compiled step, counted by XLA: no timing, no noise."""

import jax
import jax.numpy as jnp
import optax
from programs import adamw


def test_adamw_moves_40_bytes_per_weight_and_works_in_place():
    params = {name: jnp.ones((512, 512)) for name in "abc"}
    tx = adamw().transform()
    state = tx.init(params)

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    weights = sum(x.size for x in jax.tree.leaves(params))
    memory = compiled.memory_analysis()
    kept = sum(x.nbytes for x in jax.tree.leaves((params, state)))
    # XLA on a CPU makes one kernel for each output: p, mu and nu read 4 + 2 + 2 tensors, write 3.
    assert compiled.cost_analysis()["bytes accessed"] <= 40.1 * weights
    assert memory.temp_size_in_bytes < 1024
    assert memory.alias_size_in_bytes == kept
