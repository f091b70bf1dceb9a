"""Histories: the last few fields, and what is made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree, mistakes
from specimens import SPECIMENS

import optc
from optc import runtime as rt
from optc.compiler import histories
from optc.runtime.tree import Tree

SIZE = 4


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def fields(count, seed=0):
    """Fields of two tensors and a place that holds nothing."""
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=(2, 3)), None, rng.normal(size=4)] for _ in range(count)]


def flat(field):
    return np.concatenate([np.ravel(x) for x in field if x is not None])


def pushed(pushes, size=SIZE):
    """The history of the interpreter and that of programs after the same pushes."""
    params = {"a": jnp.zeros((2, 3)), "b": None, "c": jnp.zeros(4)}
    tree, tensors = Tree.of(params)
    kept, ours = histories.History(size), rt.history(rt.Field(tensors, tree), size, products=True)
    plain = rt.history(rt.Field(tensors, tree), size)
    for field in pushes:
        kept = histories.push(kept, [field[0], field[2]])
        made = rt.Field([jnp.asarray(field[0]), jnp.asarray(field[2])], tree)
        ours, plain = rt.push(ours, made), rt.push(plain, made)
    return kept, ours, plain, lambda x: rt.Field([jnp.asarray(x[0]), jnp.asarray(x[2])], tree)


def test_a_program_with_histories_runs_as_its_graph_says():
    agree(SPECIMENS["histories"])


# Before the window is full, when it is, and three times around.
@pytest.mark.parametrize("count", [0, 1, 3, SIZE, SIZE + 1, 3 * SIZE])
def test_the_inverse_fisher_is_that_of_the_dense_matrix(count):
    pushes, damping = fields(count), 0.03
    (x,) = fields(1, seed=9)
    kept, ours, plain, field = pushed(pushes)
    rows = np.stack([np.zeros(10), *map(flat, pushes[-SIZE:])])
    dense = damping * np.eye(10) + rows.T @ rows / SIZE
    expected = np.linalg.solve(dense, flat(x))
    # The condition is 1 + 30 / damping / SIZE: some hundred times 2^-53 for each rounding.
    limit = {"rtol": 1e-12, "atol": 1e-12 * np.max(np.abs(expected))}
    np.testing.assert_allclose(
        flat(histories.inverse_fisher(kept, [x[0], x[2]], damping)), expected, **limit
    )
    for history in (ours, plain):
        found = rt.inverse_fisher(history, field(x), damping)
        np.testing.assert_allclose(flat(found.tensors), expected, **limit)


@pytest.mark.parametrize("count", [0, 1, SIZE, 3 * SIZE])
def test_the_inverse_hessian_is_that_of_dense_bfgs_updates(count):
    steps, noise, scale = fields(count), fields(count, seed=3), 0.7
    changes = [
        [None if s is None else s + 0.3 * n for s, n in zip(*pair, strict=True)]
        for pair in zip(steps, noise, strict=True)
    ]
    if count > 2:
        changes[-2] = [None if s is None else 0 * s for s in changes[-2]]  # this pair is left out
    (x,) = fields(1, seed=9)
    inverse = scale * np.eye(10)
    for s, y in list(zip(map(flat, steps), map(flat, changes), strict=True))[-SIZE:]:
        if s @ y:
            away = np.eye(10) - np.outer(s, y) / (s @ y)
            inverse = away @ inverse @ away.T + np.outer(s, s) / (s @ y)
    expected = inverse @ flat(x)
    kept, ours, _, field = pushed(steps)
    curved, theirs, _, _ = pushed(changes)
    limit = {"rtol": 1e-11, "atol": 1e-11 * np.max(np.abs(expected))}
    found = histories.inverse_hessian(kept, curved, [x[0], x[2]], scale)
    np.testing.assert_allclose(flat(found), expected, **limit)
    found = rt.inverse_hessian(ours, theirs, field(x), scale)
    np.testing.assert_allclose(flat(found.tensors), expected, **limit)


def test_a_history_is_kept_in_the_dtype_that_it_says():
    program = optc.compile("""
    rule precondition own() {
      state window: bf16 = history(g, 3)
      window <- push(window, g)
      return inverse_fisher(window, g, 0.1)
    }
    optimizer one() { precondition own()  tune step 0.1 }
    """)
    optimizer, params = program(), {"x": jnp.ones(5, jnp.float32), "none": None}
    state = optimizer.init(params)
    objective = optc.Objective(loss=lambda params, batch: jnp.sum(params["x"] ** 2))
    _, after, _ = jax.eval_shape(
        lambda *given: optimizer.update(*given, objective), params, state, None
    )
    for each in (state, after):
        assert each.slots["precondition"]["window"].rows["x"].dtype == jnp.bfloat16


def test_products_are_those_of_fields_as_they_are_kept():
    """Weights of 16 bits: what is kept of a gradient is inverted exactly, with little damping."""
    program = optc.compile("""
    rule precondition own() {
      state window = history(g, 3, products = true)
      window <- push(window, g + 1 / 3)
      return inverse_fisher(window, g, 1e-4)
    }
    optimizer one() { precondition own()  tune step 0  observe norm(u) as length }
    """)
    rng = np.random.default_rng(0)
    optimizer, params = program(), {"x": jnp.asarray(rng.normal(size=6), jnp.bfloat16)}
    state = optimizer.init(params)
    objective = optc.Objective(loss=lambda params, batch: batch @ params["x"])
    for batch in rng.normal(size=(4, 6)):
        batch = jnp.asarray(batch, jnp.bfloat16)
        params, state, _ = optimizer.update(params, state, batch, objective)
    window = state.slots["precondition"]["window"]
    rows = np.asarray(window.rows["x"], np.float64)
    # Float32 holds each product, and each sum of six, to some 2^-22.
    np.testing.assert_allclose(window.products, rows @ rows.T, atol=2.0**-20)


def test_a_push_writes_one_place_of_a_donated_history():
    """No more than a few copies of the weights are made, though the history has 64 of them."""
    program = optc.compile("""
    rule precondition own() {
      state window = history(g, 64, products = true)
      window <- push(window, g)
      return inverse_fisher(window, g, 0.1)
    }
    optimizer one() { precondition own()  tune step 0.1 }
    """)
    optimizer, params = program(), {"x": jnp.ones(10_000, jnp.float32)}
    objective = optc.Objective(loss=lambda params, batch: jnp.sum(params["x"] ** 4))
    step = jax.jit(optimizer.update, static_argnums=3, donate_argnums=(0, 1))
    compiled = step.lower(params, optimizer.init(params), None, objective).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * 4 * 10_000


@pytest.mark.parametrize(
    "line",
    [
        "state window = history(g, 3)  return g + window",
        "state window = history(norm(g), 3)  return g",
        "state window = history(g, 1 + norm(g))  return g",
        "state window = history(g, 0)  return g",
        "state window: i8 = history(g, 3)  return g",
        "state window = history(g, 3, products = 1)  return g",
        "state window: bf16 = history(g, 3, products = true)  return g",
        "return inverse_fisher(history(g, 3), g, 1)",
        "state window = history(g, 3)  window <- g  return g",
        "state window = history(g, 3)  window <- push(window, 1)  return g",
        "state window = history(g, 3)  return inverse_fisher(window, g, g)",
        "state window = history(g, 3)  return inverse_fisher(g, g, 1)",
        "state window = history(g, 3)  return push(window, g)",
        "state window = history(g, 3)  return grad(window)",
        "state window = history(g, 3)  return norm(window) * g",
        "state window = history(g, 3)  "
        "when ndim > 1 { window <- push(window, g) return g } else { return g }",
        "state n = 1  state window = history(g, n)  return g",
    ],
)
def test_misuse_is_a_mistake(line):
    found = mistakes(
        f"rule precondition own() {{ {line} }} optimizer o() {{ precondition own() tune step 1 }}"
    )
    assert found
    assert not any("internal" in each for each in found)
