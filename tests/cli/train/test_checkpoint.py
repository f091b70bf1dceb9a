"""A run goes on from what is on disk with the same bits, also in stacks and packs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optc
from optc.cli.train.checkpoint import Checkpoints, Snapshot

SPEC = """
rule precondition rotated() {
  when g is [rows, cols] {
    state L = eye(rows)
    state root: bf16 stochastic = eye(rows)
    L <- 0.9 * L + g @ g.T
    every 2 staggered {
      root <- inverse_root(L, 2)
    }
    return root @ g
  } else {
    return g
  }
}
optimizer stacked(lr = 0.1) {
  precondition rotated()
  tune step    lr
}
"""

OBJECTIVE = optc.Objective(
    loss=lambda params, batch: sum(jnp.sum((x - batch) ** 2) for x in params)
)


@pytest.mark.parametrize(
    "way", [pytest.param("tensors", marks=pytest.mark.rest), "stacked", "packed"]
)
def test_a_restored_state_goes_on_with_the_same_bits(tmp_path, way):
    packs = way == "packed"
    optimizer = (optc.load("adamw", lifting=way) if packs else optc.compile(SPEC, lifting=way))()

    def steps(snapshot, until):
        for step in range(snapshot.step + 1, until + 1):
            params, state, _ = optimizer.step(
                snapshot.params, snapshot.state, jnp.float32(step), OBJECTIVE
            )
            snapshot = Snapshot(step, params, state)
        return snapshot

    def fresh():
        params = list(jax.random.normal(jax.random.key(0), (3, 2, 4)))
        params = optimizer.pack(params) if packs else params
        return Snapshot(0, params, optimizer.init(params))

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(steps(fresh(), 3))
        restored = checkpoints.newest(fresh())
    assert jax.tree.structure(tuple(restored)) == jax.tree.structure(tuple(steps(fresh(), 3)))
    ended, parts = steps(fresh(), 5), steps(restored, 5)
    for x, y in zip(jax.tree.leaves(ended.arrays), jax.tree.leaves(parts.arrays), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
