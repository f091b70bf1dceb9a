"""QK-clip on small attention: weights by hand, logits that stay under the limit, and refusals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shipped import program as shipped
from shipped import staged

import optc

compiled = partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
    },
)

HEADS, WIDTH, FEATURES = 3, 4, 5
TAU, LR = 20.0, 0.1
TOLERANCE = 1e-12
"""Some tens of float64 roundings."""


def params(fused=False):
    """Queries and keys of two layers, as flax has them or as equinox does, and another tensor."""
    rng = np.random.default_rng(0)

    def layer():
        kernels = rng.normal(size=(2, FEATURES, HEADS, WIDTH)), rng.normal(size=(2, HEADS, WIDTH))
        if fused:
            joined = HEADS * WIDTH
            kernels = (
                kernels[0].transpose(0, 2, 3, 1).reshape(2, joined, FEATURES),
                kernels[1].reshape(2, joined),
            )
        return {
            name: {"kernel": kernels[0][i], "bias": kernels[1][i]}
            for i, name in enumerate(("query", "key"))
        }

    tree = {"layers": [{"attention": layer()}, {"attention": layer()}], "scale": np.ones(3)}
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def logits(layer, x):
    """The logits of each head: examples, heads, queries, keys."""

    def projected(kernel, bias):
        if kernel.ndim == 2:
            kernel = kernel.reshape(HEADS, WIDTH, -1).transpose(2, 0, 1)
        return jnp.einsum("bsd,dhk->bshk", x, kernel) + bias.reshape(HEADS, WIDTH)

    q, k = (projected(layer[name]["kernel"], layer[name]["bias"]) for name in ("query", "key"))
    return jnp.einsum("bqhk,bshk->bhqs", q, k) / WIDTH**0.5


@compiled
def largest_logits(layer, x):
    """The largest logit of each head."""
    return jnp.max(logits(layer["attention"], x), axis=(0, 2, 3))


def loss(params, batch):
    """Something that depends on all logits, and the largest of each head."""
    total, measured = 0.0, []
    for layer in params["layers"]:
        found = logits(layer["attention"], batch)
        total += jnp.mean(jax.nn.softmax(found)[..., 0]) + jnp.mean(found**2) / 100
        largest = jnp.max(found, axis=(0, 2, 3))
        measured.append({"attention": {"attention_logits": (largest,)}})
    return total, {"layers": measured}


def objective(**options):
    return optc.Objective(loss=loss, aux=True, measured=lambda aux: aux, **options)


def clipped():
    clip = 'constrain qk_clip(tau) where path matches "query|key"'
    return staged("tune step lr", clip, lr=LR, tau=TAU)


@pytest.fixture
def batch():
    with jax.enable_x64(True):
        yield jnp.asarray(np.random.default_rng(1).normal(size=(4, 6, FEATURES)), jnp.float64)


def stepped(params, batch, objective, program=clipped, **values):
    optimizer = program()(**values)

    return compiled(lambda p: optimizer.update(p, optimizer.init(p), batch, objective)[0])(params)


def test_heads_over_the_limit_shrink_and_no_others(batch):
    before = params()
    after = stepped(before, batch, objective())
    grads = compiled(jax.grad(lambda p: loss(p, batch)[0]))(before)
    plain = jax.tree.map(lambda w, g: w - LR * g, before, grads)
    clipped = 0
    for layer, now, then in zip(before["layers"], after["layers"], plain["layers"], strict=True):
        largest = largest_logits(layer, batch)
        scale = np.where(largest > TAU, np.sqrt(TAU / largest), 1.0)
        clipped += int(np.sum(scale < 1))
        for name in ("query", "key"):
            found, start = now["attention"][name], then["attention"][name]
            expected = scale[None, :, None] * start["kernel"]
            np.testing.assert_allclose(found["kernel"], expected, rtol=TOLERANCE)
            np.testing.assert_allclose(found["bias"], scale[:, None] * start["bias"], rtol=1e-12)
    assert 0 < clipped < 2 * HEADS
    np.testing.assert_array_equal(after["scale"], plain["scale"])


@pytest.mark.filterwarnings("ignore::optc.GroupWarning")  # nothing here but attention
@pytest.mark.parametrize(
    "program",
    [clipped, pytest.param(lambda: shipped("muon_clip"), marks=pytest.mark.rest)],
    ids=["alone", "muon_clip"],
)
def test_without_a_step_the_largest_logit_of_a_head_is_the_limit(batch, program):
    before = params()
    after = stepped(before, batch, objective(), program, lr=0.0, tau=TAU)
    for layer, now in zip(before["layers"], after["layers"], strict=True):
        largest, found = largest_logits(layer, batch), largest_logits(now, batch)
        np.testing.assert_allclose(found, np.minimum(largest, TAU), rtol=TOLERANCE)


def test_heads_in_one_axis_are_those_of_an_axis_of_their_own(batch):
    apart, joined = (stepped(params(fused), batch, objective()) for fused in (False, True))
    for a, b in zip(apart["layers"], joined["layers"], strict=True):
        for name in ("query", "key"):
            kernel = a["attention"][name]["kernel"].transpose(1, 2, 0).reshape(-1, FEATURES)
            np.testing.assert_allclose(b["attention"][name]["kernel"], kernel, rtol=1e-11)


def test_of_micro_batches_the_largest_logit_counts(batch):
    whole, slices = (
        stepped(params(), batch, objective(batch_axis=0, micro_batches=n), lr=0.0) for n in (1, 2)
    )
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(slices), strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE)


def test_tensors_in_one_stack_have_measurements_of_their_own(batch):
    spec = f"""
    rule precondition cubed() {{
      state mu = zeros(g)
      mu <- mu + g
      when ndim >= 2 {{ return mu @ mu.T @ mu }} else {{ return mu }}
    }}
    optimizer lifted(lr = {LR}, tau = {TAU}) {{
      precondition cubed()
      tune step    lr
      constrain    qk_clip(tau) where path matches "(query|key)/kernel"
    }}
    """
    made = [optc.compile(spec, lifting=lifting)() for lifting in ("tensors", "stacked")]
    start = made[1].init(params())
    assert len(jax.tree.leaves(start)) < len(jax.tree.leaves(made[0].init(params())))

    def step(optimizer):
        return optimizer.update(params(), optimizer.init(params()), batch, objective())[0]

    one, other = (compiled(lambda o=o: step(o))() for o in made)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE)


def test_an_objective_that_measures_nothing_is_refused(batch):
    plain = optc.Objective(loss=lambda p, b: loss(p, b)[0])
    with pytest.raises(ValueError, match=r"`measured`, which .*qk_clip.* asks for, needs what the"):
        stepped(params(), batch, plain)
    with pytest.raises(ValueError, match=r"`measured` reads what .* aux=True"):
        optc.Objective(loss=loss, measured=lambda aux: aux)


def measuring(tree):
    return optc.Objective(loss=loss, aux=True, measured=lambda aux: tree)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "does not measure `attention_logits` of `layers/0/attention/key/kernel`"),
        (
            {"layers": [{}, {"attention": {"attention_logits": np.ones(HEADS)}}]},
            "`layers/0/attention/key/kernel`; it is measured in `layers/1/attention`",
        ),
        ({"attention_logits": np.ones(2)}, r"has the shape \(2,\); it .* divides the 3 places of"),
        ({"attention_logits": np.ones((1, HEADS))}, r"has the shape \(1, 3\)"),
    ],
)
def test_a_measurement_that_is_missing_or_does_not_fit_is_refused(batch, tree, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda p: stepped(p, batch, measuring(tree)), params())


def test_one_measurement_of_the_whole_model_holds_for_all(batch):
    after = stepped(params(), batch, measuring({"attention_logits": 4 * TAU}), lr=0.0)
    kernel = params()["layers"][0]["attention"]["query"]["kernel"]
    np.testing.assert_allclose(after["layers"][0]["attention"]["query"]["kernel"], kernel / 2)
