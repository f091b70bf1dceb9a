"""The groups of an optimizer over the trees of two transformers, as a person expects them."""

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from agreement import agree, specimen
from tried import bowl

import optc
from optc.compiler.budget.members import Members
from optc.compiler.budget.tensors import Tensor

SPEC = """
optimizer grouped(lr = 0.02) {
  clip global_norm(1.0)
  group heads where path matches "attention/(query|key|value)/kernel|_proj/weight" {
    precondition momentum(0.95)
    tune step lr
  }
  group matrices where ndim >= 2 and not path matches "embed|head|bias" {
    precondition momentum(0.95)
    decay weights(0.01) where rows >= 16
    tune step lr
  }
  group rest { precondition adam()  tune step lr / 10 }
  decay weights(1e-4) where ndim >= 2
}
"""


FLAX = """\
tensor                        shape      dtype    group     view       stages with `where`
block/attention/key/bias      (2, 4)     float32  rest                 decay
block/attention/key/kernel    (8, 2, 4)  float32  heads     (2, 8, 4)  decay
block/attention/out/bias      (8,)       float32  rest
block/attention/out/kernel    (2, 4, 8)  float32  matrices             decay
block/attention/query/bias    (2, 4)     float32  rest                 decay
block/attention/query/kernel  (8, 2, 4)  float32  heads     (2, 8, 4)  decay
block/attention/value/bias    (2, 4)     float32  rest                 decay
block/attention/value/kernel  (8, 2, 4)  float32  heads     (2, 8, 4)  decay
block/down/bias               (8,)       float32  rest
block/down/kernel             (16, 8)    float32  matrices             matrices.decay, decay
block/norm/bias               (8,)       float32  rest
block/norm/scale              (8,)       float32  rest
block/up/bias                 (16,)      float32  rest
block/up/kernel               (8, 16)    float32  matrices             decay
embed/embedding               (5, 8)     float32  rest                 decay
head/bias                     (5,)       float32  rest
head/kernel                   (8, 5)     float32  rest                 decay"""

EQUINOX = """\
tensor                                 shape    dtype    group     stages with `where`
embed/weight                           (5, 8)   float32  rest      decay
layers/0/attention/query_proj/weight   (8, 8)   float32  heads     decay
layers/0/attention/key_proj/weight     (8, 8)   float32  heads     decay
layers/0/attention/value_proj/weight   (8, 8)   float32  heads     decay
layers/0/attention/output_proj/weight  (8, 8)   float32  heads     decay
layers/0/norm/weight                   (8,)     float32  rest
layers/0/norm/bias                     (8,)     float32  rest
layers/0/mlp/layers/0/weight           (16, 8)  float32  matrices  matrices.decay, decay
layers/0/mlp/layers/0/bias             (16,)    float32  rest
layers/0/mlp/layers/1/weight           (8, 16)  float32  matrices  decay
layers/0/mlp/layers/1/bias             (8,)     float32  rest
head/weight                            (5, 8)   float32  rest      decay
head/bias                              (5,)     float32  rest"""


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(nn.LayerNorm(name="norm")(x))
        return x + nn.Dense(8, name="down")(nn.gelu(nn.Dense(16, name="up")(x)))


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = Block(name="block")(nn.Embed(5, 8, name="embed")(tokens))
        return nn.Dense(5, name="head")(x)


def test_the_table_of_a_flax_transformer():
    # The biases of the heads have two axes, and are no matrices: the table shows what `bias` does.
    shapes = jax.eval_shape(Transformer().init, jax.random.key(0), jnp.zeros((1, 3), int))
    spec = SPEC.replace('weight" {', 'weight" view "d h k -> h d k" {')
    table = specimen(spec).program.groups(shapes["params"])
    assert str(table) == FLAX


class Layer(equinox.Module):
    attention: equinox.nn.MultiheadAttention
    norm: equinox.nn.LayerNorm
    mlp: equinox.nn.MLP


class Model(equinox.Module):
    embed: equinox.nn.Embedding
    layers: list[Layer]
    head: equinox.nn.Linear


def model(key):
    nn = equinox.nn
    attention = nn.MultiheadAttention(2, 8, key=key)
    layer = Layer(attention, nn.LayerNorm(8), nn.MLP(8, 8, 16, 1, key=key))
    return Model(nn.Embedding(5, 8, key=key), [layer], nn.Linear(8, 5, key=key))


def test_the_table_of_an_equinox_transformer():
    made = equinox.filter_eval_shape(model, jax.random.key(0))
    shapes = equinox.filter(made, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    table = specimen(SPEC).program.groups(shapes)
    assert str(table) == EQUINOX


def matrices(name, shapes):
    """The tensors that an optimizer of the library does not leave to its group `rest`, by group."""
    found = {}
    for row in optc.load(name)().groups(shapes).rows:
        if row.group != "rest":
            found.setdefault(row.group, set()).add(row.path.removeprefix("layers/0/"))
    return found


def test_the_matrices_of_a_flax_transformer_are_those_of_its_layers():
    shapes = jax.eval_shape(Transformer().init, jax.random.key(0), jnp.zeros((1, 3), int))
    heads = {f"block/attention/{name}/kernel" for name in ("key", "query", "value")}
    assert matrices("soap_adamw_flax", shapes["params"]) == {
        "projections": heads,
        "outputs": {"block/attention/out/kernel"},
        "hidden": {"block/down/kernel", "block/up/kernel"},
    }


@pytest.mark.parametrize("name", ["soap_adamw", "kl_shampoo"])
def test_the_matrices_of_an_equinox_transformer_are_those_of_its_layers(name):
    made = equinox.filter_eval_shape(model, jax.random.key(0))
    shapes = equinox.filter(made, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    heads = {f"attention/{name}_proj/weight" for name in ("key", "query", "value", "output")}
    expected = heads | {"mlp/layers/0/weight", "mlp/layers/1/weight"}
    assert matrices(name, shapes) == {"hidden": expected}


SIZED = """
optimizer sized(lr = 0.1, limit: int = 3 in [1, inf), least: int = 3 in [0, inf)) {
  clip value(0.5) where ndim >= least
  group small where ndim >= 2 and rows <= limit and cols <= limit {
    precondition momentum(0.9)
    decay        weights(0.1) where cols == limit
    tune step    lr
  }
  group wide where ndim == 2 { tune step lr / 2 }
  group rest { precondition momentum(0.5)  tune step lr }
}
"""


@pytest.mark.parametrize(
    ("values", "small", "decayed", "clipped"),
    [
        ({}, {"four", "three", "two"}, set(), {"four", "three"}),
        ({"limit": 2, "least": 1}, set(), set(), {"four", "one", "thin", "three", "two"}),
        ({"limit": 4, "least": 4}, {"four", "thin", "three", "two"}, {"thin"}, {"four"}),
    ],
)
def test_a_group_may_compare_with_an_int_parameter_of_the_optimizer(
    values, small, decayed, clipped
):
    case = specimen(SIZED)
    optimizer = case.program(**values)
    table = optimizer.groups(bowl().params)
    tensors = [Tensor(row.path, row.shape, "float32") for row in table.rows]
    planned = Members(case.graph, tensors, optimizer.values)
    for rows in (table.rows, planned.rows):
        names = [row.path if hasattr(row, "path") else row.tensor.path for row in rows]
        reached = {stage: set() for stage in ("clip", "small.decay")}
        for name, row in zip(names, rows, strict=True):
            for stage in row.stages:
                reached[stage].add(name)
        assert {n for n, row in zip(names, rows, strict=True) if row.group == "small"} == small
        assert reached == {"clip": clipped, "small.decay": decayed}
    assert [f.kind for f in table.findings] == [f.kind for f in planned.findings]


@pytest.mark.filterwarnings("ignore:the group `wide`")
def test_a_program_whose_groups_have_a_limit_does_what_the_interpreter_does():
    case = specimen(SIZED)
    agree(case, bowl(), 3)
    agree(case, bowl(), 3, limit=4, least=1)
