"""Rules and optimizers that claim to equal optax, schedules that have a twin: 50 steps of each.

Errors are relative to the largest element of each step: within one element a sum may cancel.
Float64 holds to 1e-12: some hundred roundings of 2^-53, amplified at most a thousandfold by the
debiasing, which divides by 1 - decay^t.

Float32 holds to `STEPS * 2^-23 / (1 - decay)` with the largest decay of the rule. Each step adds
a few roundings of 2^-24 to what it carries over. Ours takes `decay` rounded to float32 where optax
has it in float64, so 1 - decay differs by a relative 2^-24 / (1 - decay).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from claims import around, claimed, claims, kind, settings, title
from jax import lax
from shipped import SPLIT, described, loss, make_batch, make_params, program, staged, trajectory

import optc
from optc.grammar import syntax

STEPS = 50
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
DOUBLE = 1e-12


LOOSER = {
    # Optax takes 1 - 1 / sqrt(1 + lr^2) as a difference, of which 5e-5 is left at its default.
    "fromage": 2.0**-52 / 5e-5,
    # Optax takes the root of the step count in float32, and so the weight of each gradient.
    "madgrad": 2.0**-23,
    # Optax works out 1 - t^-0.8 in float32: a few roundings of 2^-24 for each step.
    "adafactor": STEPS * 2.0**-23,
    "adafactor_momentum": STEPS * 2.0**-23,
    "adafactor_unscaled": STEPS * 2.0**-23,
}
"""Tolerances in float64 where it is the twin that loses digits."""


NEVER_EMPTY = ("muon_optax", "muon_optax_dion")
"""Claims whose twin divides by the number of rows in Python, where an empty matrix has none."""


def params_of_claims(stride, every_rule=False):
    """Every claim as a parameter; CI takes each `stride`-th, or of optimizers alone.

    `test_chain.py` runs those optimizers that are made of rules with claims as optax's chains.
    """
    found = []
    for number, item in enumerate(claims()):
        taken = number % stride == 0 or (every_rule and kind(item) != "optimizer")
        found.append(pytest.param(item, id=title(item), marks=() if taken else pytest.mark.rest))
    return found


def theirs(item, chosen):
    """The transformation that the item claims to be, descending like ours."""
    tx = claimed(item, chosen)
    return tx if kind(item) in ("tune", "optimizer") else optax.chain(tx, optax.scale(-1.0))


class Pair(NamedTuple):
    """A node of the tree."""

    one: Any
    other: Any


def series(dtype):
    """50 random gradients, weights and losses: of all sizes, some exactly zero, one tiny."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-2, 2, STEPS)
    sizes[7] = 0.0
    sizes[30] = 1e-9
    shapes = {
        "matrix": (3, 4),
        "vector": (5,),
        "scalar": (),
        "nested": {"list": [(2, 1, 2), None], "pair": Pair((3,), (2, 2))},
        "empty": (0, 3),
        "none": None,
    }

    def draw(shape):
        return rng.normal(size=(STEPS, *shape))

    def is_shape(x):
        return type(x) is tuple

    grads = jax.tree.map(lambda s: (draw(s).T * sizes).T, shapes, is_leaf=is_shape)
    grads["vector"][:3] = 0.0
    weights = jax.tree.map(draw, shapes, is_leaf=is_shape)
    losses = np.abs(draw(()))
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), (grads, weights, losses))


def updates(tx, inputs):
    """What a transformation makes of the series."""
    tx = optax.with_extra_args_support(tx)

    @partial(jax.jit, compiler_options=FAST)
    def run(inputs):
        def step(state, now):
            grads, weights, value = now
            found, state = tx.update(grads, state, weights, value=value)
            return state, found

        return lax.scan(step, tx.init(jax.tree.map(lambda x: x[0], inputs[1])), inputs)[1]

    return run(inputs)


def rounding(item, inputs):
    """What a step may be off by because it is a difference of weights: some of their last places.

    That of an `average` is the new weights less the old ones, here as in optax. Of n weights, since
    an inner product of them may decide how far to go.
    """
    stages = item.body if isinstance(item, syntax.OptimizerDecl) else ()
    if not any(isinstance(s, syntax.Stage) and s.kind.id == "average" for s in stages):
        return 0.0
    leaves = jax.tree.leaves(inputs[1])
    largest = max(float(jnp.abs(x).max(initial=0)) for x in leaves)
    n = sum(x[0].size for x in leaves)
    return 8 * n * largest * float(jnp.finfo(inputs[2].dtype).eps)


def assert_close(found, expected, tolerance, floor=0.0):
    """Equal trees of stacked tensors, relative to the largest element of each step."""
    assert described(found) == described(expected)
    a, b = (
        np.concatenate(
            [np.asarray(x, float).reshape(STEPS, -1) for x in jax.tree.leaves(t)], axis=1
        )
        for t in (found, expected)
    )
    bound = tolerance * np.abs(b).max(axis=1) + floor
    np.testing.assert_array_less(np.abs(a - b).max(axis=1), bound + np.finfo(float).tiny)


def compare(item, chosen, program, expected, dtype, tolerance):
    """Hold both transformations against each other over the series."""
    inputs = series(dtype)
    if item.name.id in NEVER_EMPTY:
        inputs = tuple({**tree, "empty": None} for tree in inputs[:2]) + inputs[2:]
    found = updates(program.transform(), inputs)
    assert_close(found, updates(expected, inputs), tolerance, rounding(item, inputs))


@pytest.mark.parametrize("item", params_of_claims(6, every_rule=True))
def test_what_a_claim_says_holds_in_float64(item):
    """At values that are no defaults; a rule that can be limited acts on matrices only."""
    with jax.enable_x64(True):
        chosen = settings(item, usual=False)
        tx = theirs(item, chosen)
        where = ""
        if kind(item) not in ("tune", "optimizer"):
            where = "ndim >= 2"
            tx = optax.chain(optax.masked(claimed(item, chosen), matrices), optax.scale(-1.0))
        tolerance = LOOSER.get(item.name.id, DOUBLE)
        compare(item, chosen, around(item, where=where)(**chosen), tx, jnp.float64, tolerance)


@pytest.mark.parametrize("item", params_of_claims(12))
def test_what_a_claim_says_holds_at_the_defaults(item):
    with jax.enable_x64(True):
        chosen = settings(item, usual=True)
        optimizer = around(item, folded=True)()
        tolerance = LOOSER.get(item.name.id, DOUBLE)
        compare(item, chosen, optimizer, theirs(item, chosen), jnp.float64, tolerance)


@pytest.mark.parametrize("item", params_of_claims(12))
def test_what_a_claim_says_holds_in_float32(item):
    chosen = settings(item, usual=False)
    largest = max([0.0, *(x for x in chosen.values() if not isinstance(x, str) and x < 1)])
    tolerance = STEPS * 2.0**-23 / (1 - largest)
    compare(item, chosen, around(item)(**chosen), theirs(item, chosen), jnp.float32, tolerance)


def matrices(params):
    return jax.tree.map(lambda x: x.ndim >= 2, params)


# ---- whole optimizers


def optax_trajectory(tx, params, batch, steps, **extra):
    """The weights of each step of optax on the loss of the model."""
    tx = optax.with_extra_args_support(tx)

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, batch)
            found, state = tx.update(grads, state, params, value=value, **extra)
            params = optax.apply_updates(params, found)
            return (params, state), params

        return lax.scan(step, (params, tx.init(params)), length=steps)[1]

    return run(params)


def test_adamw_with_clipping_and_a_mask_is_the_chain_of_optax():
    """The stages of `fsam`, without its perturbation."""
    written = staged(
        "clip global_norm(0.3)",
        "precondition adam(b1 = 0.9, b2 = 0.95)",
        "decay weights(0.1) where ndim >= 2",
        "tune step warmup_cosine(peak = 0.02, warmup = 10, total = 40)",
    )
    rate = optax.warmup_cosine_decay_schedule(0.0, 0.02, 10, 40)
    chain = optax.chain(
        optax.clip_by_global_norm(0.3),
        optax.scale_by_adam(b2=0.95),
        optax.add_decayed_weights(0.1, lambda params: jax.tree.map(lambda x: x.ndim >= 2, params)),
        # Optax counts from 0, and `t` from 1. A float, since optax divides an int32 in float32.
        optax.scale_by_learning_rate(lambda count: rate((count + 1).astype(float))),
    )
    with jax.enable_x64(True):
        params, batch = make_params(jnp.float64), make_batch(jnp.float64)
        found, _ = trajectory(written(), params, batch, SPLIT, STEPS)
        assert_close(found, optax_trajectory(chain, params, batch, STEPS), DOUBLE)


def test_sam_is_that_of_optax():
    with jax.enable_x64(True):
        params, batch = make_params(jnp.float64), make_batch(jnp.float64)
        tx = optax.contrib.sam(
            optax.sgd(0.02, momentum=0.8),
            optax.chain(optax.contrib.normalize(), optax.sgd(0.1)),
            opaque_mode=True,
        )
        optimizer = program("sam")(lr=0.02, rho=0.1, momentum=0.8)
        found, _ = trajectory(optimizer, params, batch, SPLIT, STEPS)

        @jax.jit
        def run(params):
            def step(carry, _):
                params, state = carry
                grads = jax.grad(loss)(params, batch)
                changes, state = tx.update(
                    grads, state, params, grad_fn=lambda p, _: jax.grad(loss)(p, batch)
                )
                params = optax.apply_updates(params, changes)
                return (params, state), params

            return lax.scan(step, (params, tx.init(params)), length=STEPS)[1]

        assert_close(found, run(params), DOUBLE)


# ---- line search


def convex_loss(params, batch):
    """Logistic regression with a little decay: smooth and strictly convex."""
    logits = batch["x"] @ params["w"] + params["b"]
    decay = 0.01 * sum(jnp.sum(x**2) for x in jax.tree.leaves(params))
    return jnp.mean(jnp.logaddexp(0.0, -batch["y"] * logits)) + decay


def test_armijo_takes_the_steps_of_optax():
    """On a convex loss every search ends with an accepted step, and both searches are the same.

    They differ at their borders, so the rule claims nothing: the first guess of optax is `grow`
    times 1, ours is `start`; and where no trial is accepted optax takes the last one, while ours
    takes none.
    """
    rule = "tune step armijo(start = 15, grow = 1.5, shrink = 0.7, c = 0.3, max_step = max_step)"
    optimizer = staged(rule, "observe eta as step_size", max_step=15.0)()
    search = optax.scale_by_backtracking_linesearch(
        30, slope_rtol=0.3, decrease_factor=0.7, increase_factor=1.5, max_learning_rate=15.0
    )
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        batch = {
            "x": jnp.asarray(rng.normal(size=(20, 3)) * [3, 1, 0.2]),
            "y": jnp.asarray(rng.choice([-1.0, 1.0], 20)),
        }
        params = {"w": jnp.ones(3), "b": jnp.zeros(())}
        objective = optc.Objective(loss=convex_loss)
        found, report = trajectory(optimizer, params, batch, objective, STEPS)

        @jax.jit
        def run(params):
            def step(carry, _):
                params, state = carry
                value, grads = jax.value_and_grad(convex_loss)(params, batch)
                down = jax.tree.map(jnp.negative, grads)
                changes, state = search.update(
                    down,
                    state,
                    params,
                    value=value,
                    grad=grads,
                    value_fn=lambda p: convex_loss(p, batch),
                )
                params = optax.apply_updates(params, changes)
                return (params, state), (params, state.learning_rate)

            state = search.init(params)
            # So that the first guess of optax is 15 as well.
            state = state._replace(learning_rate=jnp.asarray(10.0))
            return lax.scan(step, (params, state), length=STEPS)[1]

        expected, rates = run(params)
        searched = np.asarray(rates)
        assert len(np.unique(searched.round(6))) > 3, "the search has something to do"
        np.testing.assert_allclose(report.observed["step_size"], rates, rtol=DOUBLE)
        assert_close(found, expected, DOUBLE)


# ---- schedules


def rates(call, steps):
    """The values of a schedule at t = 1, 2, ..."""
    optimizer = staged(f"tune step {call}", "observe eta as rate")()
    params = {"w": jnp.ones(())}
    state = optimizer.init(params)
    objective = optc.Objective(loss=lambda params, batch: params["w"])

    @jax.jit
    @jax.vmap
    def rate(count):
        now = state._replace(count=count)
        return optimizer.update(params, now, None, objective)[2].observed["rate"]

    return np.asarray(rate(jnp.arange(steps, dtype=jnp.int32)))


SCHEDULES = {
    "constant(0.3)": (optax.constant_schedule(0.3), 0),
    # The first step has `start`, as in optax at count 0.
    # Warm-ups start at peak / warmup: optax at count 1.
    "warmup_cosine(peak = 0.5, warmup = 10, total = 40, floor = 0.1)": (
        optax.warmup_cosine_decay_schedule(0.0, 0.5, 10, 40, 0.1),
        1,
    ),
    "linear_decay(peak = 0.5, total = 40, warmup = 10, floor = 0.1)": (
        optax.join_schedules(
            [optax.linear_schedule(0.0, 0.5, 10), optax.linear_schedule(0.5, 0.1, 30)], [10]
        ),
        1,
    ),
    "linear_decay(peak = 0.5, total = 40)": (optax.linear_schedule(0.5, 0.0, 40), 1),
    "wsd(peak = 0.5, warmup = 10, total = 40, share = 0.25)": (
        optax.join_schedules(
            [
                optax.linear_schedule(0.0, 0.5, 10),
                optax.constant_schedule(0.5),
                optax.linear_schedule(0.5, 0.0, 10),
            ],
            [10, 30],
        ),
        1,
    ),
}


@pytest.mark.parametrize("call", SCHEDULES)
def test_a_schedule_is_that_of_optax(call):
    schedule, first = SCHEDULES[call]
    with jax.enable_x64(True):
        expected = [float(schedule(jnp.asarray(first + i))) for i in range(STEPS)]
        np.testing.assert_allclose(rates(call, STEPS), expected, rtol=DOUBLE, atol=1e-16)
