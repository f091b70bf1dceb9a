"""Means over the examples of a batch, of a function of one example's gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from agreement import agree, graph_of, interpret, mistakes, specimen

import optc

LIMIT = 0.3


def loss(params, batch):
    """A mean over examples of a small model; `scale` is the same for all of them."""
    hidden = jnp.tanh(batch["x"] @ params["kernel"] + params["bias"])
    return batch["scale"] * jnp.mean((hidden.sum(axis=1) - batch["y"]) ** 2)


OBJECTIVE = optc.Objective(loss=loss, batch_axis=0)


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {"kernel": jnp.asarray(rng.normal(size=(3, 2))), "bias": jnp.zeros(2), "none": None}


@pytest.fixture
def batch():
    """Six examples, one of which has no gradient."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 3)), 3 * rng.normal(size=6)
    x[2], y[2] = 0.0, 0.0
    return {"x": jnp.asarray(x), "y": jnp.asarray(y), "scale": jnp.asarray(0.1)}


def gradients(params, batch):
    """The gradient of each example, one after the other."""
    found, grad = [], jax.jit(jax.grad(loss))
    for i in range(len(batch["y"])):
        one = {"x": batch["x"][i : i + 1], "y": batch["y"][i : i + 1], "scale": batch["scale"]}
        found.append(grad(params, one))
    return jax.tree.map(lambda *x: jnp.stack(x), *found)


def step(text, params, batch, **values):
    program = optc.compile(text) if "{" in text else optc.load(text)
    optimizer = program(**values)
    update = jax.jit(optimizer.update, static_argnums=3)
    after, _, report = update(params, optimizer.init(params), batch, OBJECTIVE)
    return jax.tree.map(lambda w, new: w - new, params, after), report


def assert_close(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


def test_clipping_each_example_is_that_of_optax(params, batch):
    text = f"optimizer x() {{ perturb per_example_clip({LIMIT}) tune step 1.0 }}"
    each = gradients(params, batch)
    lengths = jax.vmap(optax.tree.norm)(each)
    assert 0 < int((lengths > LIMIT).sum()) < len(lengths), "some are clipped, and some are not"
    summed, _ = optax.per_example_global_norm_clip(jax.tree.leaves(each), LIMIT)
    expected = jax.tree.unflatten(jax.tree.structure(each), [x / len(lengths) for x in summed])
    assert_close(step(text, params, batch)[0], expected)


def test_dpsgd_without_noise_is_that_of_optax(params, batch):
    tx = optax.chain(
        optax.contrib.differentially_private_aggregate(LIMIT, 0.0, key=0), optax.scale(-0.5)
    )
    expected, _ = tx.update(gradients(params, batch), tx.init(params))
    found, _ = step("dpsgd", params, batch, lr=0.5, limit=LIMIT, noise=0.0)
    assert_close(found, jax.tree.map(jnp.negative, expected))


def test_the_noise_has_the_deviation_of_optax():
    """Of 40,000 numbers: the deviation of a deviation is 1 / sqrt(2 n), and 5 of them are 0.018."""
    params = jnp.zeros(40_000)
    objective = optc.Objective(loss=lambda p, b: 0.0 * jnp.mean(p) * jnp.mean(b), batch_axis=0)
    optimizer = optc.load("dpsgd")(lr=1.0, limit=2.0, noise=3.0)
    state = optimizer.init(params)
    after, _, _ = jax.jit(optimizer.update, static_argnums=3)(params, state, jnp.ones(5), objective)
    np.testing.assert_allclose(np.std(after), 2.0 * 3.0 / 5, rtol=0.018)
    assert abs(float(np.mean(after))) < 5 * 1.2 / 200


def test_a_mean_of_the_gradients_is_the_gradient(params, batch):
    text = """
    optimizer x() {
      perturb mine()
      tune step 1.0
      observe per_example_mean(e => norm(e)) as length
      observe per_example_mean(e => where(norm(e) > 0.3, 1, 0)) as clipped
    }
    rule perturb mine() { return per_example_mean(e => e, at = w) }
    """
    found, report = step(text, params, batch)
    assert_close(found, jax.grad(loss)(params, batch))
    lengths = jax.vmap(optax.tree.norm)(gradients(params, batch))
    np.testing.assert_allclose(report.observed["length"], lengths.mean(), rtol=1e-5)
    np.testing.assert_allclose(report.observed["clipped"], (lengths > LIMIT).mean(), rtol=1e-6)


def test_graph_and_module_agree_on_functions_of_examples():
    case = specimen(
        """
        func shrunk(e, limit) { length = norm(e) return e * min(1, limit / length) }
        rule perturb mine(limit = 0.2) {
          near = w - 0.1 * g
          mean_gradient = per_example_mean(e => shrunk(e, limit) + 0.1 * e * g, at = near)
          signal = norm(mean_gradient)^2
          noise = per_example_mean(e => norm(e - mean_gradient)^2)
          return mean_gradient * signal / (signal + noise / examples())
        }
        optimizer x(lr = 0.1) { perturb mine() tune step lr }
        """
    )
    assert case.program.needs == {"grad", "per_example_grad", "examples"}
    agree(case, steps=2)


def test_the_objective_must_say_where_the_examples_are(params, batch):
    optimizer = optc.load("dpsgd")()
    state = optimizer.init(params)
    with pytest.raises(ValueError, match=r"dpsgd.opt:\d+ .* batch_axis=0"):
        optimizer.update(params, state, batch, optc.Objective(loss=loss))
    uneven = batch | {"weights": batch["y"][:4]}
    with pytest.raises(ValueError, match=r"have \[4, 6\] examples along axis 0"):
        optimizer.update(params, state, uneven, OBJECTIVE)
    with pytest.raises(TypeError, match="is an axis"):
        optc.Objective(loss=loss, batch_axis=-1)
    assert OBJECTIVE == optc.Objective(loss=loss, batch_axis=0) != optc.Objective(loss=loss)


WRONG = {
    "g + norm(g)": "a function of one example's gradient is needed here; this is a field",
    "e => norm(e) > 1": "a mean is taken over numbers or fields; this is a condition",
    "e => grad(w + e)": "`grad` is asked in a function of one example's gradient",
    "e => per_example_mean(d => d)": "`per_example_mean` is asked in a function of one example's",
    "e => e + normal(w)": "`normal` is drawn in a function of one example's gradient",
    "e => kept(e)": "the state `s` is kept in a function of one example's gradient",
}


@pytest.mark.parametrize("function", WRONG)
def test_what_is_no_function_of_one_gradient_is_refused(function):
    text = f"""
    rule perturb kept() {{ state s = zeros(g) s <- s + g return s }}
    rule perturb mine() {{ return per_example_mean({function}) }}
    optimizer x() {{ perturb mine() tune step 1.0 }}
    """
    found = mistakes(text)
    assert any(each.startswith(f"bad-per-example: {WRONG[function]}") for each in found), found


def test_a_function_of_one_gradient_may_be_a_name():
    text = """
    func limited(e) {{ return e / (1 + norm(e)) }}
    rule perturb mine(f: func) {{ return per_example_mean(f) }}
    optimizer x() {{ perturb mine({}) tune step 1.0 }}
    """
    given, written = (graph_of(text.format(f)) for f in ("limited", "e => e / (1 + norm(e))"))
    one, other = (interpret(graph, steps=1).last.weights for graph in (given, written))
    assert all((x == y).all() for x, y in zip(one, other, strict=True))


def test_stages_below_accumulate_and_in_groups_do_not_ask():
    rule = "rule precondition mine() { return per_example_mean(e => e) }\n"
    below = "optimizer x() { accumulate 2 precondition mine() tune step 1.0 }"
    assert [m.partition(":")[0] for m in mistakes(rule + below)] == ["oracle-after-accumulate"]
    some = "optimizer x() { precondition mine() where ndim >= 2 tune step 1.0 }"
    assert [m.partition(":")[0] for m in mistakes(rule + some)] == ["oracle-of-some-tensors"]


def test_several_means_at_one_point_share_one_evaluation(params, batch):
    text = """
    optimizer x() { perturb mine() tune step 1.0 observe per_example_mean(e => norm(e)) as size }
    rule perturb mine() {
      each = per_example_grad(w)
      center = mean(each)
      return center / (1 + per_example_mean(e => norm(e - center)^2, of = each))
    }
    """
    calls = []

    def counted(params, batch):
        calls.append(len(batch["y"]))
        return loss(params, batch)

    optimizer = optc.compile(text)()
    objective = optc.Objective(loss=counted, batch_axis=0)
    jax.make_jaxpr(lambda p, s: optimizer.update(p, s, batch, objective))(
        params, optimizer.init(params)
    )
    # The loss of the report, and the gradients of all examples, one traced for all.
    assert sorted(calls) == [1, 6]
