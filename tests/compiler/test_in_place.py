"""What a step only may change is copied in no step: XLA's text of compiled updates says so."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optc

SPEC = """
optimizer one(lr = 0.1) {
  precondition RULE
  tune step    lr
}
"""
PARAMS = {"w": jnp.ones((16, 24))}

COPY = re.compile(r"%\w*copy\w*[.\d]* = f32\[\d+,\d+\]")
"""The definition of a matrix that is a copy, in another layout or in the same."""


@pytest.mark.parametrize(
    "rule",
    ["soap(refresh = 3, staggered = true)", "shampoo_adam(refresh = 3)"],
    ids=["soap", "shampoo"],
)
def test_matrices_that_wait_for_their_turn_are_not_copied(rule):
    chain = optc.compile(SPEC.replace("RULE", rule))().transform()

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = chain.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.eval_shape(chain.init, PARAMS)
    text = step.lower(PARAMS, state, PARAMS).compile().as_text()
    entry = text[text.index("\nENTRY ") :]
    assert not COPY.findall(entry)
    # All of LAPACK is in loops, which have a round or none; those do copy.
    assert "custom-call" not in entry
    assert COPY.findall(text)


def test_what_is_done_instead_of_turns_is_the_same_in_stacks():
    """SOAP's first bases are of all matrices at once, those of a stack by one batched call."""
    keys = jax.random.split(jax.random.key(0), 4)
    params = {str(i): jax.random.normal(key, (4, 4)) for i, key in enumerate(keys)}
    spec = SPEC.replace("RULE", "soap(refresh = 2, staggered = true)")
    found = []
    for way in ("tensors", "stacked"):
        chain = optc.compile(spec, lifting=way)().transform()

        def step(carry, key, chain=chain):
            params, state = carry
            grads = jax.tree.map(lambda w: w + jax.random.normal(key, w.shape), params)
            updates, state = chain.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        (last, _), _ = jax.lax.scan(step, (params, chain.init(params)), keys)
        found.append(last)
    for one, other, start in zip(*map(jax.tree.leaves, (*found, params)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)
        assert jnp.abs(one - start).max() > 0.05
