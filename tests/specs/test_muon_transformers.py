"""Muon with AdamW by groups on transformers of flax and equinox: who goes where, and what moves."""

from functools import cache

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from shipped import program

import optc

WIDTH, HIDDEN, HEADS, WORDS, LENGTH = 8, 12, 2, 5, 3
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
TOKENS = np.arange(2 * LENGTH).reshape(2, LENGTH) % WORDS


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x + nn.MultiHeadDotProductAttention(HEADS, name="attention")(nn.LayerNorm()(x))
        return x + nn.Dense(WIDTH, name="down")(nn.gelu(nn.Dense(HIDDEN, name="up")(x)))


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = Block(name="block")(nn.Embed(WORDS, WIDTH, name="embed")(tokens))
        return nn.Dense(WORDS, name="head")(x)


class Layer(equinox.Module):
    attention: equinox.nn.MultiheadAttention
    norm: equinox.nn.LayerNorm
    mlp: equinox.nn.MLP

    def __call__(self, x):
        normed = jax.vmap(self.norm)(x)
        x = x + self.attention(normed, normed, normed)
        return x + jax.vmap(self.mlp)(x)


class Model(equinox.Module):
    embed: equinox.nn.Embedding
    layers: list[Layer]
    head: equinox.nn.Linear

    def __call__(self, tokens):
        x = jax.vmap(self.embed)(tokens)
        for layer in self.layers:
            x = layer(x)
        return jax.vmap(self.head)(x)


def model(key):
    nn = equinox.nn
    attention = nn.MultiheadAttention(HEADS, WIDTH, key=key)
    layer = Layer(attention, nn.LayerNorm(WIDTH), nn.MLP(WIDTH, WIDTH, HIDDEN, 1, key=key))
    return Model(nn.Embedding(WORDS, WIDTH, key=key), [layer], nn.Linear(WIDTH, WORDS, key=key))


@cache
def flax():
    """Shapes of the weights, and the model's outputs."""
    shapes = jax.eval_shape(Transformer().init, jax.random.key(0), TOKENS)["params"]
    return shapes, lambda params, batch: Transformer().apply({"params": params}, batch)


@cache
def of_equinox():
    made = equinox.filter_eval_shape(model, jax.random.key(0))
    shapes, rest = equinox.partition(made, lambda x: isinstance(x, jax.ShapeDtypeStruct))
    return shapes, lambda params, batch: jax.vmap(equinox.combine(params, rest))(batch)


def of_nnx():
    """The state of a block of flax's other library."""

    def make():
        rngs = nnx.Rngs(0)
        attention = nnx.MultiHeadAttention(HEADS, WIDTH, rngs=rngs, decode=False)
        up = nnx.Linear(WIDTH, HIDDEN, rngs=rngs)
        return nnx.state(nnx.Dict(attention=attention, up=up), nnx.Param)

    return jax.eval_shape(make)


def grouped(name, shapes):
    """The tensors of each group."""
    found = {}
    for row in program(name).groups(shapes).rows:
        found.setdefault(row.group, []).append(row.path)
    return found


def test_the_groups_of_a_flax_transformer():
    found = grouped("muon_flax", flax()[0])
    qkv = [f"block/attention/{name}/kernel" for name in ("key", "query", "value")]
    assert found.pop("projections") == qkv
    assert found.pop("outputs") == ["block/attention/out/kernel"]
    assert found.pop("hidden") == ["block/down/kernel", "block/up/kernel"]
    (rest,) = found.values()
    assert "embed/embedding" in rest
    assert "head/kernel" in rest
    assert "block/attention/key/bias" in rest  # [heads, width]: two axes, and no matrix


def test_the_groups_of_a_block_of_nnx():
    found = grouped("muon_flax", of_nnx())
    assert [path.split("/")[1] for path in found["projections"]] == ["key", "query", "value"]
    assert found["hidden"] == ["up/kernel/value"]


def test_the_groups_of_an_equinox_transformer():
    found = grouped("muon_equinox", of_equinox()[0])
    layer = "layers/0"
    assert found["hidden"] == [
        *(f"{layer}/attention/{name}_proj/weight" for name in ("query", "key", "value", "output")),
        *(f"{layer}/mlp/layers/{number}/weight" for number in (0, 1)),
    ]
    assert {"embed/weight", "head/weight"} <= set(found["rest"])


@pytest.mark.parametrize(
    ("base", "model", "replaced", "rules"),
    [
        ("muon_flax", flax, ("projections", "outputs", "hidden"), ("normuon()", "kl_soap()")),
        ("muon_equinox", of_equinox, ("hidden",), ("normuon()",)),
        pytest.param(
            *("muon_equinox", of_equinox, ("hidden",)),
            ("dion(rank = 2)", "galore_adam(rank = 2)", "kl_shampoo()", "kron()", "scion()"),
            marks=pytest.mark.rest,
        ),
    ],
)
def test_any_rule_of_matrices_takes_the_groups_of_a_variant(base, model, replaced, rules):
    shapes = model()[0]
    for rule in rules:
        edits = "  ".join(f"replace {group}.precondition with {rule}" for group in replaced)
        table = optc.compile(f"optimizer one from {base} {{ {edits} }}").groups(shapes)
        found = {}
        for row in table.rows:
            found.setdefault(row.group, []).append(row.path)
        assert found == grouped(base, shapes)


def newton_schulz(x):
    x = x / np.linalg.norm(x)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


@pytest.mark.rest
@pytest.mark.parametrize(
    ("name", "made", "at", "matrix"),
    [
        (
            "muon_flax",
            flax,
            lambda p: p["block"]["attention"]["query"]["kernel"],
            lambda x: x.reshape(WIDTH, WIDTH),
        ),
        (
            "muon_equinox",
            of_equinox,
            lambda p: p.layers[0].mlp.layers[0].weight,
            np.transpose,
        ),
    ],
)
def test_two_steps_on_a_transformer(name, made, at, matrix):
    """Of a matrix the first step is its momentum's, orthogonal up to the iteration."""
    shapes, outputs = made()
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32) / 3, shapes)
    optimizer, labels = program(name)(), jax.nn.one_hot(TOKENS, WORDS)

    def loss(found, batch):
        return -jnp.mean(jnp.sum(labels * jax.nn.log_softmax(found), axis=-1))

    objective = optc.Objective(outputs=outputs, loss=loss)

    @jax.jit
    def run(params):
        def step(carry, _):
            grads = jax.grad(lambda p: loss(outputs(p, TOKENS), TOKENS))(carry[0])
            *carry, report = optimizer.update(*carry, TOKENS, objective)
            return tuple(carry), (carry[0], at(grads), report.loss)

        return jax.lax.scan(step, (params, optimizer.init(params)), length=2)[1]

    after, grads, losses = run.lower(params).compile(FAST)(params)
    assert losses[1] < losses[0]
    moved = jax.tree.map(
        lambda x, y: bool(np.all(np.isfinite(y)) and np.any(x != y[1])), params, after
    )
    assert all(jax.tree.leaves(moved))
    one = matrix(np.asarray(at(params)) - np.asarray(at(after)[0]))
    rows, cols = one.shape
    expected = (
        0.02 * max(1, cols / rows) ** 0.5 * newton_schulz(matrix(np.asarray(grads[0], float)))
    )
    # Of weights of size 1 a step of 0.02 keeps float32's 2^-24; the iteration multiplies roundings.
    np.testing.assert_allclose(one, expected, atol=2e-6)
