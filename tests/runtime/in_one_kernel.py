"""Updates with kernels of several results, in a process of their own: XLA reads options once.

Prints as JSON what XLA counts of each update of given gradients, how many results its kernels
have, and how far two rates at once are from each alone, and writes what three steps give to the
file that it is told.
"""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optc

CHAIN = "clip global_norm(1.0) precondition adam() decay weights(0.1) where ndim >= 2"
SPECS = {
    "adamw": "precondition adam() decay weights(0.01) tune step 0.001",
    "clipped": "clip global_norm(1.0) precondition adam() decay weights(0.01) tune step 0.001",
    "averaged": f"{CHAIN} tune step cosine_decay(0.001, 100) average ema(0.99)",
    "grouped": """
        group a where path matches "a" { precondition adam() tune step 0.001 }
        group rest { precondition momentum(0.9) decay weights(0.01) tune step 0.01 }
    """,
    "momentum": "precondition momentum(0.9) tune step 0.01",
    "sgd": "tune step 0.01",
    "trusted": "precondition adam() decay weights(0.01) tune step 0.001 * trust_ratio()",
}
SHAPES = {name: jax.ShapeDtypeStruct((256, 64), jnp.float32) for name in "ab"}


def update_of(name):
    """The optimizer's transformation and its jitted update, applied."""
    tx = optc.compile(f"optimizer {name}() {{ {SPECS[name]} }}")().transform()

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return tx, jax.jit(step, donate_argnums=(0, 1))


def after_steps(name):
    """Weights and states after three steps, from weights and gradients that are always the same."""
    tx, step = update_of(name)
    numbers = np.random.default_rng(0)
    params = {key: numbers.standard_normal(x.shape, np.float32) for key, x in SHAPES.items()}
    state = tx.init(jax.tree.map(jnp.asarray, params))
    for _ in range(3):
        grads = jax.tree.map(lambda x: numbers.standard_normal(x.shape, np.float32), SHAPES)
        params, state = step(params, state, grads)
    return [np.asarray(x) for x in jax.tree.leaves((params, state.slots))]


def compiled_update(name):
    """The update as XLA compiled it, and the shapes of its state."""
    tx, step = update_of(name)
    state = jax.eval_shape(tx.init, SHAPES)
    return step.lower(SHAPES, state, SHAPES).compile(), state


def results_of_kernels(name):
    """How many tensors each kernel makes that makes any."""
    text = compiled_update(name)[0].as_text()
    entry = text[text.index("ENTRY ") :]
    made = re.findall(r"= (\(.*?\)|\S+) fusion\(", entry)
    return [each.count("f32[256,64]") for each in made if "f32[256,64]" in each]


def counts(name):
    """What XLA counts for each weight: bytes accessed, temporaries, and what is not in place."""
    compiled, state = compiled_update(name)
    memory = compiled.memory_analysis()
    weights = sum(x.size for x in jax.tree.leaves(SHAPES))
    kept = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((SHAPES, state)))
    found = compiled.cost_analysis()["bytes accessed"], memory.temp_size_in_bytes
    return [*(x / weights for x in found), kept - memory.alias_size_in_bytes]


def between_rates():
    """By how much an update for two rates at once differs from those for each."""
    program = optc.compile("optimizer rated(lr = 0.01) { precondition adam() tune step lr }")
    params = jax.tree.map(lambda x: jnp.ones(x.shape), SHAPES)

    def step(rate):
        tx = program(lr=rate).transform()
        return tx.update(params, tx.init(params), params)[0]["a"]

    rates = jnp.array([0.5, 0.25])
    together = jax.jit(jax.vmap(step))(rates)
    return float(abs(together - jnp.stack([jax.jit(step)(rate) for rate in rates])).max())


def main():
    """The counts and the results with the option."""
    optc.configure(multi_output=True)
    found = {name: (counts(name), results_of_kernels(name)) for name in SPECS}
    results = {name: after_steps(name) for name in SPECS}
    np.savez(sys.argv[1], **{f"{n} {i}": x for n, xs in results.items() for i, x in enumerate(xs)})
    print(json.dumps(found | {"between rates": between_rates()}))


if __name__ == "__main__":
    main()
