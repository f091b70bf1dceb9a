"""SAM and Functional-SAM against a plain gradient step, and against `optax.contrib.sam`.

On the model of the `text` task, with the same base optimizer on both sides. Held against: at most
2.0 plain steps, and not slower than optax's SAM.
"""

from functools import partial
from typing import Any

import jax
import optax

import optc

from .interleave import Variant, held, interleave, repeated, report
from .workload import Workload, text_model

ROUNDS = 11
RATE, RADIUS, DECAY = 0.1, 0.05, 0.9

FSAM_BASE = """
optimizer base(lr = 1e-3) {{
  {perturb}
  clip         global_norm(1.0)
  precondition adam(b1 = 0.9, b2 = 0.95)
  decay        weights(0.1) where ndim >= 2
  tune step    lr
  observe norm(g) as grad_norm
}}
"""
"""The optimizer `fsam` without its schedule and the sharpness that it observes now and then."""


def main() -> None:
    """Print both tables."""
    work = text_model()
    print("\nSAM over momentum")
    timings = interleave(
        {
            "plain": work.compiled("momentum", lr=RATE, momentum=DECAY),
            "optc sam": work.compiled("sam", lr=RATE, momentum=DECAY, rho=RADIUS),
            "optax, opaque": _optax(work, opaque=True),
            "optax, two calls": _optax(work, opaque=False),
        },
        ROUNDS,
    )
    report(timings, "plain")
    ours = timings["optc sam"].median
    held("SAM, in plain steps", ours / timings["plain"].median, 2.0)
    held("SAM, in opaque steps of optax", ours / timings["optax, opaque"].median, 1.0)
    held("SAM, in transparent steps of optax", ours / timings["optax, two calls"].median, 1.0)

    print("\nFunctional-SAM over AdamW with a clip")
    perturbs = {
        "plain": "",
        "optc fsam": "perturb functional_sam(radius = 0.1)",
        "optc sam": "perturb sam(radius = 0.1)",
    }
    variants = {
        name: work.compiled(optc.compile(FSAM_BASE.format(perturb=perturb)))
        for name, perturb in perturbs.items()
    }
    timings = interleave(variants | {"library's fsam": work.compiled("fsam")}, ROUNDS)
    report(timings, "plain")
    plain = timings["plain"].median
    held("Functional-SAM, in plain steps", timings["optc fsam"].median / plain, 2.0)
    held("SAM, in plain steps", timings["optc sam"].median / plain, 2.0)


def _optax(work: Workload, *, opaque: bool) -> Variant:
    base = optax.sgd(RATE, momentum=DECAY)
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(RADIUS))
    sam = optax.contrib.sam(base, adversary, sync_period=2, opaque_mode=opaque)

    @partial(jax.jit, donate_argnums=(0, 1))
    def call(params: Any, state: Any) -> tuple[Any, Any, jax.Array]:
        value, grads = jax.value_and_grad(work.loss)(params)
        more = {"grad_fn": lambda params, _: jax.grad(work.loss)(params)} if opaque else {}
        updates, state = sam.update(grads, state, params, **more)
        return optax.apply_updates(params, updates), state, value

    params = work.fresh()
    # The transparent form keeps the weights in its state: a buffer cannot be donated twice.
    state = jax.tree.map(jax.numpy.copy, sam.init(params))
    kept = [params, state]

    def step() -> Any:
        for _ in range(1 if opaque else 2):
            kept[:] = call(*kept)[:2]
        return kept

    return repeated(step, jax.block_until_ready)


if __name__ == "__main__":
    main()
