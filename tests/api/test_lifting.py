"""Matrices in stacks: the same optimizer in another form, on one device."""

from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scanned import scanned

import optc
from optc.runtime.joined import Joined

LAYERS, WIDTH = 3, 4

ROTATED = """
rule precondition rotated(eps = 1e-2, beta = 0.9) {
  when g is [rows, cols] {
    state L = eps * eye(rows)
    state PL = eye(rows)
    state PR: bf16 stochastic = eye(cols)
    L <- beta * L + (1 - beta) * g @ g.T
    every 2 staggered {
      PL <- inverse_root(L, 4)
    }
    every 2 {
      PR <- inverse_root(g.T @ g + eps * eye(cols), 4)
    }
    return PL @ g @ PR
  } else {
    return adam(g)
  }
}
"""

KINDS = {
    # Work on matrices beside all that looks at the tensors of a field in some other way.
    "whole": ROTATED
    + """
extern precondition lent() = optax.scale_by_trust_ratio()
rule precondition windowed() {
  state window = history(g, 2, products = true)
  window <- push(window, g)
  return inverse_fisher(window, g, 0.1)
}
optimizer whole(lr = 0.05) {
  perturb      weight_noise(0.01)
  clip         global_norm(1.0)
  precondition rotated()
  precondition windowed()
  precondition lent()
  decay        weights(0.01) where path matches "k/w"
  tune step    lr
  average      ema(decay = 0.9)
  guard        finite()
  observe      norm(u, per = tensor) as u_norm
  observe      mean(g) + max(g) as numbers
  observe      xtrace(hvp, 2) as trace
}
""",
    "muon": """
optimizer muons(lr = 0.05) {
  group hidden where ndim == 2 and path matches "k/w" view "i o -> o i" {
    precondition muon()
    decay        weights(0.01)
    tune step    lr
  }
  group rest {
    precondition adam()
    tune step    lr
  }
}
""",
}


@pytest.fixture(scope="module")
def params():
    keys = jax.random.split(jax.random.key(0), 2 * LAYERS)
    return [
        {
            "k": {"w": 0.3 * jax.random.normal(keys[2 * i], (WIDTH, WIDTH))},
            "q": 0.3 * jax.random.normal(keys[2 * i + 1], (WIDTH, WIDTH)),
            "b": jnp.zeros(WIDTH),
            "none": None,
        }
        for i in range(LAYERS)
    ]


def outputs(params, batch):
    x = batch
    for layer in params:
        x = x + jnp.tanh(x @ layer["k"]["w"] + layer["b"]) @ layer["q"]
    return x


OBJECTIVE = optc.Objective(loss=lambda params, batch: jnp.mean((outputs(params, batch) - 1) ** 2))
BATCH = jax.random.normal(jax.random.key(9), (8, WIDTH))


run = partial(scanned, OBJECTIVE, BATCH)


def close(a, b):
    # Batched products add up in another order: a few roundings in each of some steps.
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("kind", [pytest.param("whole", marks=pytest.mark.rest), "muon"])
def test_stacks_change_no_number_and_each_form_goes_on_from_the_other(kind, params):
    apart, stacked = (optc.compile(KINDS[kind], lifting=way)() for way in ("tensors", "stacked"))
    (w, state), report = run(apart, params, apart.init(params))
    (w_stacked, state_stacked), report_stacked = run(stacked, params, stacked.init(params))
    close(w, w_stacked)
    close(report, report_stacked)
    close(state, apart.adopt(state_stacked, params))
    adopted = stacked.adopt(state, params)
    assert jax.tree.structure(adopted) == jax.tree.structure(state_stacked)
    close(adopted, state_stacked)
    close(apart.evaluation_params(w, state), stacked.evaluation_params(w, adopted))


@pytest.fixture(scope="module")
def stacked():
    return optc.compile(KINDS["muon"], lifting="stacked")


def test_a_stacked_slot_is_found_and_shows_the_weights_tree(stacked, params):
    state = stacked().init(params)
    mu = optax.tree.get(state.slots["hidden.precondition"], "mu")
    assert isinstance(mu, Joined)
    assert [None if x is None else x.shape for x in mu.tensors] == [None, (3, 4, 4), *[None] * 5]
    assert str(mu) == "Joined(0/k/w + 2: float32[3,4,4])"
    assert mu.tree[1]["k"]["w"].shape == (WIDTH, WIDTH)
    assert mu.tree[1]["b"] is None
    # Slots that have no stack are the weights' own tree.
    assert state.slots["rest.precondition"]["mu"][1]["b"].shape == (WIDTH,)


def test_a_sweep_has_one_more_axis_before_the_stacks(stacked, params):
    states = jax.vmap(lambda lr: stacked(lr=lr).init(params))(jnp.arange(2.0))
    mu = states.slots["hidden.precondition"]["mu"]
    assert mu.tensors[1].shape == (2, 3, 4, 4)
    assert mu.tree[0]["k"]["w"].shape == (2, 4, 4)
    tree = stacked().init(params).slots["hidden.precondition"]["mu"].tree
    assert jax.tree.structure(mu.tree) == jax.tree.structure(tree)


def test_a_state_of_the_other_form_is_told_from_ours(stacked, params):
    state = optc.compile(KINDS["muon"], lifting="tensors")().init(params)
    with pytest.raises(ValueError, match=r"lies in other stacks .* optimizer\.adopt\(state"):
        stacked().update(params, state, BATCH, OBJECTIVE)
    fewer = stacked().init(params[:2])
    with pytest.raises(ValueError, match="not built like params"):
        stacked().update(params, fewer, BATCH, OBJECTIVE)
    with pytest.raises(ValueError, match="not built like params"):
        stacked().adopt(fewer, params)


def test_gradients_go_in_as_they_are_in_the_place_of_an_optax_optimizer(stacked, params):
    tx = stacked().transform()
    grads = jax.tree.map(lambda x: 0.1 + x, params)
    updates, _ = tx.update(grads, tx.init(params), params)
    apart = optc.compile(KINDS["muon"], lifting="tensors")().transform()
    expected, _ = apart.update(grads, apart.init(params), params)
    close(updates, expected)


@pytest.mark.parametrize("way", ["tensors", "stacked"])
def test_a_program_has_as_many_products_for_ten_layers_as_for_thirty(way):
    tx = optc.compile(KINDS["muon"], lifting=way)().transform()

    def products(layers):
        params = [{"k": {"w": jnp.ones((WIDTH, WIDTH))}} for _ in range(layers)]
        lowered = jax.jit(tx.update).lower(params, tx.init(params), params)
        return lowered.as_text().count("dot_general")

    assert products(10) == products(30) > 0


def test_a_stacked_state_is_donated(stacked, params):
    optimizer = stacked()
    state = optimizer.init(params)
    step = stacked.steps.jitted({})
    compiled = step.lower(params, state, BATCH, OBJECTIVE, None, None).compile()
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((params, state)))
    assert compiled.memory_analysis().alias_size_in_bytes >= size


def test_a_stacked_state_travels_with_an_exported_step(stacked, params):
    optimizer, state = stacked(), stacked().init(params)
    exported = jax.export.export(jax.jit(lambda state: optimizer.set(state, lr=0.5)))(state)
    found = jax.export.deserialize(exported.serialize()).call(state)
    assert jax.tree.structure(found) == jax.tree.structure(state)
    assert found.slots["hidden.precondition"]["mu"].tree[0]["none"] is None


def test_a_spec_and_its_caller_say_how_matrices_are_lifted(params):
    text = KINDS["muon"].rstrip()[:-1] + "  lifting stacked\n}\n"
    state = optc.compile(text)().init(params)
    assert isinstance(state.slots["hidden.precondition"]["mu"], Joined)
    state = optc.compile(text, lifting="tensors")().init(params)
    assert not isinstance(state.slots["hidden.precondition"]["mu"], Joined)


def test_a_wrong_way_is_named():
    with pytest.raises(ValueError, match="`lifting` is 'fast'; it is one of 'auto'"):
        optc.compile(KINDS["muon"], lifting="fast")
    with pytest.raises(ValueError, match="`mesh` and `axis` are given together"):
        optc.compile(KINDS["muon"], axis="data")
    mesh = jax.make_mesh((1,), ("data",))
    with pytest.raises(ValueError, match="`axis` is 'model'; the mesh has 'data'"):
        optc.compile(KINDS["muon"], mesh=mesh, axis="model")
    with pytest.raises(ValueError, match="only stacks are split over devices"):
        optc.compile(KINDS["muon"], lifting="tensors", mesh=mesh, axis="data")
