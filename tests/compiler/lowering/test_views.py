"""The view of a group: its rules see other arrangements, and nobody else does."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree, assert_weights, by_hand, interpret, mistakes, specimen
from tried import Model

RULE = """
rule precondition rows(beta = 0.9) {
  state trace = zeros(g)
  trace <- beta * trace + g / max(norm(g, per = row), 1e-9)
  return trace * norm(trace, per = matrix)
}
"""


@cache
def transformer() -> Model:
    """Fused queries, keys and values of two heads, an output for each head, a bias; quadratic."""
    random = np.random.default_rng(3)
    shapes = {"bias": (5,), "out": (2, 3, 5), "qkv": (5, 18)}
    params = {name: random.normal(size=shape) for name, shape in shapes.items()}
    centres = tuple(
        {name: random.normal(size=shape) for name, shape in shapes.items()} for _ in range(3)
    )

    def outputs(params, batch):
        return jax.tree.map(jnp.subtract, params, batch)

    def loss(outputs, batch):
        return sum(jnp.sum(x * x) / 2 for x in jax.tree.leaves(outputs))

    return Model(params, centres, outputs, loss)


def apart(qkv):
    """(d, q h k) as (q, h, d, k), with three of q and two of h."""
    return np.moveaxis(qkv.reshape(5, 3, 2, 3), 0, 2)


def fused(x):
    return np.moveaxis(x, 2, 0).reshape(5, 18)


FUSED = (
    RULE
    + """
optimizer one(lr = 0.1, heads: int = 2) {
  group qkv where path == "qkv" view "d (q h k) -> q h d k" with (q = 3, h = heads) {
    precondition rows()
    tune step lr
  }
  group out where path == "out" view "h k d -> (h k) d" { precondition rows()  tune step lr }
  group rest { tune step lr }
}
"""
)


def test_a_rule_on_a_view_is_the_rule_on_rearranged_tensors():
    kept = {}

    def rows(key, g):
        scaled = g / np.maximum(np.linalg.norm(g, axis=-1, keepdims=True), 1e-9)
        trace = kept[key] = 0.9 * kept.get(key, 0) + scaled
        return trace * np.sqrt(np.sum(trace**2, axis=(-2, -1), keepdims=True))

    def update(t, w, g):
        match w.shape:
            case (5, 18):
                return w - 0.1 * fused(rows("qkv", apart(g)))
            case (2, 3, 5):
                return w - 0.1 * rows("out", g.reshape(6, 5)).reshape(2, 3, 5)
        return w - 0.1 * g

    trace = agree(FUSED, transformer(), steps=3)
    assert_weights(trace, by_hand(transformer(), update, 3))
    shapes = [None if x is None else x.shape for x in trace.last.slots["qkv.precondition", "trace"]]
    assert shapes == [None, None, (3, 2, 5, 3)]


EVERYTHING = """
rule precondition by_first_axis() {
  when g is [q, h, d, k] { return g / sum(g^2, per = 0) * q } else { return g }
}
rule tune own() { return 1 / (1 + norm(u, per = tensor)) }
rule constrain slow() { return w - eta * u / 2 }
optimizer one(lr = 0.1) {
  clip global_norm(1.0)
  group qkv where path == "qkv" view "d (q h k) -> q h d k" with (q = 3, h = 2) {
    precondition by_first_axis()
    decay        weights(0.1) where cols == 3 and ndim == 4
    decay        weights(0.1) where ndim == 2
    tune step    own()
    observe      max(sum(w, per = 1)) as tallest
    observe      norm(u - g) as far
    observe      norm(w_next - w) as moved
  }
  group rest { tune step lr }
  constrain slow()
  observe mean(eta * u) as mean_step
}
"""


def test_weights_steps_and_observations_go_both_ways():
    def update(t, w, g):
        norm = np.sqrt(sum(np.sum(x**2) for x in gradients[t - 1]))
        g = g * min(1, 1 / norm)
        if w.shape != (5, 18):
            return w - 0.1 * g / 2
        x = apart(g)
        u = 3 * x / np.sum(x**2, axis=(1, 2, 3), keepdims=True) + 0.1 * apart(w)
        return w - fused(u) / (1 + np.linalg.norm(u)) / 2

    trace = agree(EVERYTHING, transformer(), steps=2)
    gradients = []
    for weights, batch in zip(
        [transformer().weights, trace.moments[0].weights], transformer().batches, strict=False
    ):
        centre = [batch[name] for name in sorted(batch)]
        gradients.append([w - c for w, c in zip(weights, centre, strict=True)])
    assert_weights(trace, by_hand(transformer(), update, 2))
    tallest = apart(transformer().weights[2]).sum((0, 2, 3)).max()
    np.testing.assert_allclose(trace.moments[0].observed["tallest"], tallest)


def test_a_view_that_changes_nothing_changes_nothing():
    text = """
    optimizer one() {
      group a where ndim == 2 VIEW { precondition adam()  tune step 0.1 }
      group rest { tune step 0.1 }
    }
    """
    viewed = interpret(specimen(text.replace("VIEW", 'view "a b -> a b"')).plain, transformer(), 2)
    plain = interpret(specimen(text.replace("VIEW", "")).plain, transformer(), 2)
    assert_weights(viewed, [moment.weights for moment in plain.moments])


def test_tensors_that_do_not_fit_are_refused_with_the_view_and_its_line():
    program = specimen(FUSED).program
    params = transformer().params
    message = (
        "the view of the group `qkv` (<test>:9) does not fit `qkv` of shape (5, 18): its axis of "
        "length 18 is no multiple of q = 3 * h = 4 in `d (q h k) -> q h d k`"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        program(heads=4).init(params)
    with pytest.raises(ValueError, match="it has 2 axes, and the arrangement takes 3"):
        program().init({**params, "out": np.zeros((6, 5))})
    with pytest.raises(ValueError, match="the size h = -2 is below 1"):
        program(heads=-2).init(params)
    rows = program.groups(params).rows
    assert [row.view for row in rows] == [None, (6, 5), (3, 2, 5, 3)]
    assert program.groups(params, heads=6).rows[2].view == (3, 6, 5, 1)


def test_choices_by_shape_in_a_view_take_the_signal_and_what_was_made_of_it():
    """A first state that waits for the gradient splits the kernel, so all of it is handed on."""
    text = """
    optimizer one(lr = 0.1) {
      group qkv where path == "qkv" view "d (q h k) -> q (h d k)" with (q = 3, h = 2) {
        precondition shaped()
        tune step    lr
      }
      group rest { precondition shaped()  tune step lr }
    }
    rule precondition shaped() {
      when g is [rows, cols] {
        state row = max(abs(g), per = 0)
        row <- max(row, 2 * max(abs(g), per = 0))
        when rows > cols { return g / (1 + row) } else { return g * rows / cols }
      } else {
        return g
      }
    }
    """
    agree(text, transformer(), steps=2)


def test_random_fields_have_the_shapes_of_the_view():
    noisy = RULE.replace("beta * trace", "beta * trace + normal(w)")
    agree(FUSED.replace(RULE, noisy), transformer(), steps=2)


def test_a_field_of_a_view_does_not_mix_with_others():
    named = FUSED.replace("  return trace *", "  direction = trace\n  return direction *")
    text = named.rstrip()[:-1]
    found = mistakes(text + "  observe norm(qkv.precondition.direction - u) as x }")
    assert found == ["type-mismatch: this field is in the arrangement `d (q h k) -> q h d k`"]
    assert mistakes(text + "  observe norm(qkv.precondition.direction) as x }") == []


def test_an_external_stage_sees_the_view_too():
    text = """
    extern precondition theirs(rho = 0.9) = optax.scale_by_rms(decay = rho)
    optimizer one(lr = 0.1) {
      group qkv where path == "qkv" view "d (q h k) -> q h d k" with (q = 3, h = 2) {
        precondition theirs()
        tune step    lr
      }
      group rest { tune step lr }
    }
    """
    program = specimen(text).program
    optimizer = program()
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, transformer().params)
        state = optimizer.init(params)
        shapes = [x.shape for x in jax.tree.leaves(state.slots)]
        after, _, _ = optimizer.update(
            params, state, transformer().batch(0), transformer().objective
        )
    assert shapes == [(3, 2, 5, 3)]
    g = transformer().params["qkv"] - transformer().batch(0)["qkv"]
    expected = transformer().params["qkv"] - 0.1 * g / np.sqrt(0.1 * g**2 + 1e-8)
    np.testing.assert_allclose(after["qkv"], expected, rtol=1e-12)
