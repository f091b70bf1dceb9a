"""Small tensors in packs: the same optimizer in another form, and weights that stay packed."""

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
from optc.runtime.lifting import MANY, SMALL

LAYERS, WIDTH = 3, 4

TEXT = """
optimizer several(lr = 0.05, limit: int = 2) {
  accumulate 2
  clip global_norm(1.0)
  group kernels where ndim == 2 and path matches "k/w" {
    precondition muon()
    decay        weights(0.01)
    tune step    lr
  }
  group rest {
    precondition adam()
    decay        weights(0.01) where ndim >= 1
    tune step    lr
  }
  average      ema(decay = 0.9)
  guard        finite()
  observe      norm(u) + max(g) + mean(g) as numbers
}
"""


@pytest.fixture(scope="module")
def params():
    keys = jax.random.split(jax.random.key(0), 2 * LAYERS)
    return [
        {
            "k": {"w": 0.3 * jax.random.normal(keys[2 * i], (WIDTH, WIDTH))},
            "q": 0.3 * jax.random.normal(keys[2 * i + 1], (WIDTH, WIDTH)),
            "b": jnp.zeros(WIDTH),
            "s": jnp.ones(()),
            "none": None,
        }
        for i in range(LAYERS)
    ]


def outputs(params, batch):
    x = batch
    for layer in params:
        x = x + layer["s"] * jnp.tanh(x @ layer["k"]["w"] + layer["b"]) @ layer["q"]
    return x


def loss(params, batch):
    return jnp.mean((outputs(params, batch) - 1) ** 2)


OBJECTIVE = optc.Objective(loss=loss)
BATCH = jax.random.normal(jax.random.key(9), (8, WIDTH))


@pytest.fixture(scope="module")
def apart():
    return optc.compile(TEXT, lifting="tensors")()


@pytest.fixture(scope="module")
def packed():
    return optc.compile(TEXT, lifting="packed")()


run = partial(scanned, OBJECTIVE, BATCH)


def close(a, b):
    # Sums over several tensors add up in another order: a few roundings in each of some steps.
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)


def described(tree):
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]


def test_packs_change_no_number_and_each_form_goes_on_from_the_other(apart, packed, params):
    (w, state), report = run(apart, params, apart.init(params))
    (w_2, state_2), report_2 = run(packed, params, packed.init(params))
    vectors = packed.pack(params)
    (w_3, state_3), report_3 = run(packed, vectors, packed.init(vectors))
    close((w, report), (w_2, report_2))
    close((w, report), (w_3.tree, report_3))
    assert described(w_3) == described(vectors)
    assert described(state_3) == described(state_2)
    close(state, apart.adopt(state_2, params))
    for here in (params, vectors):
        adopted = packed.adopt(state, here)
        assert described(adopted) == described(state_2)
        close(adopted, state_3)
    average = apart.evaluation_params(w, state)
    close(average, packed.evaluation_params(w_2, state_2))
    close(average, packed.evaluation_params(w_3, state_3).tree)


def test_what_lies_in_a_pack_is_said_by_the_program(packed, params):
    vectors = packed.pack(params)
    # Kernels go through products. Scalars have no decay, and so no place among the others.
    names = [place.name for place in vectors.beside.places if place.is_pack]
    assert names == ["0/b + 5", "0/s + 2"]
    assert str(vectors).startswith("Joined(0/b + 5: float32[60], 0/k/w: float32[4,4], 0/s + 2:")
    assert jax.tree.structure(vectors.tree) == jax.tree.structure(params)
    close(vectors.tree, params)


def test_a_packed_slot_is_found_and_shows_the_weights_tree(packed, params):
    state = packed.init(params)
    mu = optax.tree.get(state.slots["rest.precondition"], "mu")
    assert isinstance(mu, Joined)
    assert mu.tree[1]["q"].shape == (WIDTH, WIDTH)
    assert mu.tree[2]["s"].shape == ()
    assert mu.tree[1]["k"]["w"] is None
    assert mu.tree[0]["none"] is None
    # Slots without a pack are the weights' own tree.
    assert state.slots["kernels.precondition"]["mu"][1]["k"]["w"].shape == (WIDTH, WIDTH)
    changed = packed.set(state, lr=0.1)
    assert jax.tree.structure(changed) == jax.tree.structure(state)


@pytest.mark.rest
def test_a_sweep_has_one_more_axis_before_the_packs(params):
    program = optc.load("adamw", lifting="packed")
    rates = jnp.array([1e-3, 1e-2])

    def trained(lr):
        optimizer = program(lr=lr)
        vectors = optimizer.pack(params)
        (w, state), _ = run(optimizer, vectors, optimizer.init(vectors), 2)
        return w, state

    w, state = jax.vmap(trained)(rates)
    assert w.tree[0]["q"].shape == (2, WIDTH, WIDTH)
    assert state.slots["precondition"]["mu"].tree[2]["s"].shape == (2,)
    for i, lr in enumerate(rates):
        close(jax.tree.map(lambda x, i=i: x[i], w), trained(lr)[0])


def test_packed_weights_take_the_place_of_a_tree_in_optax(packed, params):
    tx, vectors = packed.transform(), packed.pack(params)
    # The gradient in the vectors is one concatenation, and the updates have the gradients' form.
    grads = jax.grad(lambda x: loss(x.tree, BATCH))(vectors)
    assert described(grads) == described(vectors)
    updates, _ = tx.update(grads, tx.init(vectors), vectors)
    moved = optax.apply_updates(vectors, updates)
    assert described(moved) == described(vectors)
    mixed, _ = tx.update(grads.tree, tx.init(params), vectors)
    assert jax.tree.structure(mixed) == jax.tree.structure(params)
    close(mixed, updates.tree)


def test_given_gradients_step_packed_weights(packed, params):
    tx, vectors = packed.transform(), packed.pack(params)
    grads = jax.tree.map(lambda x: 0.1 + x, vectors)
    state, w, expected = packed.init(vectors), jax.tree.map(jnp.copy, vectors), vectors
    by_optax = tx.init(vectors)
    for _ in range(2):  # the second one is applied
        w, state, _ = packed.apply(w, state, grads)
        updates, by_optax = tx.update(grads, by_optax, expected)
        expected = optax.apply_updates(expected, updates)
    assert described(w) == described(vectors)
    close((w, state), (expected, by_optax))


def test_packs_are_donated(packed, params):
    vectors = packed.pack(params)
    state = packed.init(vectors)
    step = packed.program.steps.jitted({"limit": 2})
    compiled = step.lower(vectors, state, BATCH, OBJECTIVE, None, None).compile()
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((vectors, state)))
    assert compiled.memory_analysis().alias_size_in_bytes >= size


def test_packs_travel_with_an_exported_step(packed, params):
    vectors = packed.pack(params)
    exported = jax.export.export(jax.jit(lambda x: jax.tree.map(lambda y: 2 * y, x)))(vectors)
    found = jax.export.deserialize(exported.serialize()).call(vectors)
    assert jax.tree.structure(found) == jax.tree.structure(vectors)
    close(found.tree, jax.tree.map(lambda x: 2 * x, params))


def test_the_planner_packs_many_small_tensors_on_a_cpu():
    program = optc.load("adamw")
    many = [jnp.zeros(3)] * (MANY - 1) + [jnp.zeros(SMALL), jnp.zeros((2, 2), jnp.bfloat16)]
    assert jax.tree.structure(program().init(many).slots["precondition"]["mu"]) == (
        jax.tree.structure(many)
    )
    mu = program().init([*many, jnp.ones(())]).slots["precondition"]["mu"]
    packs = jax.default_backend() == "cpu" and jax.device_count() == 1
    assert isinstance(mu, Joined) == packs
    if packs:
        assert [place.name for place in mu.beside.places] == ["0 + 31", "31", "32"]
    apart = optc.load("adamw", lifting="tensors")().init([*many, jnp.ones(())])
    assert isinstance(apart.slots["precondition"]["mu"], list)


def test_a_program_that_sees_tensors_packs_none():
    optimizer = optc.load("lamb", lifting="packed")()
    params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    vectors = optimizer.pack(params)
    assert str(vectors) == "Joined(a: float32[3], b: float32[2])"
    after, _, _ = optimizer.step(
        vectors, optimizer.init(vectors), None, optc.Objective(loss=lambda p, _: jnp.sum(p["a"]))
    )
    assert described(after) == described(optimizer.pack(params))


def test_a_spec_says_that_it_is_packed(params):
    text = "optimizer adam(lr = 1) {\n precondition adam()\n tune step lr\n lifting packed\n}"
    state = optc.compile(text)().init(params)
    assert isinstance(state.slots["precondition"]["mu"], Joined)


def test_what_is_no_pack_of_these_weights_is_told(packed, apart, params):
    state, vectors = packed.init(params), packed.pack(params)
    with pytest.raises(ValueError, match=r"lies in other stacks or packs .* optimizer\.adopt\("):
        apart.update(params, state, BATCH, OBJECTIVE)
    halved = jax.tree.map(lambda x: x[: len(x) // 2] if x.ndim else x, vectors)
    with pytest.raises(ValueError, match=r"params leaf `0/b \+ 5` has shape \(30,\), and packed"):
        packed.init(halved)
    ints = jax.tree.map(lambda x: x.astype(int), vectors)
    with pytest.raises(TypeError, match=r"params leaf `0/b \+ 5` has dtype int32"):
        packed.init(ints)
    halves = jax.tree.map(lambda x: x.astype(jnp.bfloat16), vectors)
    with pytest.raises(ValueError, match=r"has dtype bfloat16, and packed it had float32; change"):
        packed.init(halves)
    fewer = packed.pack(params[:2])
    with pytest.raises(ValueError, match="grads and params are not built alike"):
        packed.transform().update(fewer, state, vectors)


def test_a_state_of_other_weights_is_told_and_not_adopted(packed, apart, params):
    """As many numbers in other shapes are as long a vector."""
    columns = [{"k": {"w": jnp.eye(2)}, "w": jnp.ones((2, 3))} for _ in range(3)]
    rows = jax.tree.map(jnp.transpose, columns)
    other = r"params and state do not match at `0/w`: slot `.*` "
    for state in (packed.init(columns), packed.init(packed.pack(columns)), apart.init(columns)):
        with pytest.raises(ValueError, match=other):
            packed.adopt(state, rows)
    state = packed.init(columns)
    for weights in (rows, packed.pack(rows)):
        with pytest.raises(ValueError, match=other + r"of the state is for shape \(2, 3\)"):
            packed.evaluation_params(weights, state)
    with pytest.raises(ValueError, match="is not built like params"):
        packed.evaluation_params(columns[:2], state)


def test_no_weights_at_all_are_packed_to_none(packed):
    vectors = packed.pack({})
    updates, _ = packed.transform().update(vectors, packed.init(vectors), vectors)
    assert optax.apply_updates(vectors, updates).tree == {}
