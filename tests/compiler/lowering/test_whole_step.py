"""Averages, micro-batches, guards and observations: what concerns the step as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree, assert_weights, by_hand, gradient, graph_of, interpret, specimen
from tried import bowl, net, spiked

# ---- averages


def test_ema_evaluates_with_the_debiased_average():
    trace = agree("optimizer one() { tune step 0.1  average ema(0.9) }", bowl())
    weights = by_hand(bowl(), lambda t, w, g: w - 0.1 * g)
    assert_weights(trace, weights)
    ema = [np.zeros_like(w) for w in bowl().weights]
    for t, (moment, new) in enumerate(zip(trace.moments, weights, strict=True), 1):
        ema = [0.9 * e + 0.1 * w for e, w in zip(ema, new, strict=True)]
        for seen, e in zip(moment.evaluation, ema, strict=True):
            np.testing.assert_allclose(seen, e / (1 - 0.9**t), rtol=1e-10)


def test_schedule_free_evaluates_with_the_mean_of_its_base_points():
    text = "optimizer one() { tune step 0.1  average schedule_free(0.9) }"
    trace = agree(text, bowl())
    z, x, y = (list(bowl().weights) for _ in range(3))
    points = []
    for t, moment in enumerate(trace.moments, 1):
        g = gradient(bowl(), t, y)
        z = [a - 0.1 * b for a, b in zip(z, g, strict=True)]
        points.append(z)
        x = [np.mean(p, axis=0) for p in zip(*points, strict=True)]
        y = [0.1 * a + 0.9 * b for a, b in zip(z, x, strict=True)]
        for seen, expected in zip(moment.weights, y, strict=True):
            np.testing.assert_allclose(seen, expected, rtol=1e-10)
        for seen, expected in zip(moment.evaluation, x, strict=True):
            np.testing.assert_allclose(seen, expected, rtol=1e-10)


def test_an_average_of_some_tensors_evaluates_the_others_as_they_are():
    text = """
    optimizer one() { tune step 0.1  average ema(0.5) where ndim >= 3 }
    """
    trace = agree(text, bowl())
    for moment in trace.moments:
        for w, e in zip(moment.weights, moment.evaluation, strict=True):
            assert np.ndim(w) >= 3 or np.array_equal(w, e)
    deep = zip(trace.last.weights, trace.last.evaluation, strict=True)
    assert not any(np.array_equal(w, e) for w, e in deep if np.ndim(w) >= 3)


# ---- micro-batches


ACCUMULATED = """
optimizer one(n: int = 4) {
  accumulate n
  precondition adam()
  tune step 0.1 * t
  observe norm(g) as grad_norm
}
"""


def test_accumulate_applies_the_mean_gradient_on_every_nth_call():
    model = bowl()
    trace = agree(ACCUMULATED, model, steps=8)
    assert [m.applied for m in trace.moments] == [False, False, False, True] * 2
    for moment in trace.moments[:3]:
        for seen, w in zip(moment.weights, model.weights, strict=True):
            np.testing.assert_array_equal(seen, w)
    mu = nu = [0.0] * len(model.weights)
    weights = list(model.weights)
    for t in (1, 2):
        calls = [gradient(model, 4 * (t - 1) + k, weights) for k in (1, 2, 3, 4)]
        g = [np.mean(x, axis=0) for x in zip(*calls, strict=True)]
        mu = [0.9 * m + 0.1 * x for m, x in zip(mu, g, strict=True)]
        nu = [0.999 * v + 0.001 * x**2 for v, x in zip(nu, g, strict=True)]
        u = [
            m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            for m, v in zip(mu, nu, strict=True)
        ]
        weights = [w - 0.1 * t * x for w, x in zip(weights, u, strict=True)]
        for seen, w in zip(trace.moments[4 * t - 1].weights, weights, strict=True):
            np.testing.assert_allclose(seen, w, rtol=1e-10)


def test_an_observation_below_accumulate_is_reported_when_the_step_is_applied():
    trace = agree(ACCUMULATED, bowl(), steps=5, n=2)
    due = [not np.isnan(m.observed["grad_norm"]) for m in trace.moments]
    assert due == [False, True, False, True, False]


def test_accumulate_one_changes_nothing():
    plain = ACCUMULATED.replace("accumulate n", "").replace("n: int = 4", "")
    a, b = agree(ACCUMULATED, bowl(), n=1), agree(plain, bowl())
    for x, y in zip(a.moments, b.moments, strict=True):
        for one, other in zip(x.weights, y.weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_perturbations_run_for_each_micro_batch():
    text = "optimizer one() { perturb sam()  accumulate 2  clip global_norm(0.5)  tune step 0.1 }"
    trace = agree(text, steps=4)
    assert [c["grad"] for c in trace.counts] == [2] * 4


@pytest.mark.parametrize("start", ["g", "hvp(g)"])
def test_a_state_above_accumulate_begins_with_the_first_micro_batch(start):
    smoothed = (
        f"rule perturb smoothed() {{ state m = {start}  m <- 0.5 * m + 0.5 * g  return m }}\n"
        "optimizer one() { perturb smoothed()  accumulate 2  tune step 0.1 }"
    )
    model = bowl()  # whose Hessian is 1, so that both begin with the gradient
    trace = interpret(graph_of(smoothed), model, steps=2)
    first, second = (gradient(model, step, model.weights) for step in (1, 2))
    for m, one, other in zip(trace.last.slots["perturb", "m"], first, second, strict=True):
        np.testing.assert_allclose(m, 0.5 * one + 0.5 * other, rtol=1e-14)


def test_groups_below_accumulate():
    text = """
    optimizer one() {
      accumulate 2
      group deep where ndim >= 2 { precondition momentum()  tune step 0.1 }
      group rest { tune step 0.2 }
    }
    """
    agree(text, steps=4)


def test_averages_and_constraints_below_accumulate():
    text = """
    rule constrain positive() { return max(w_next, -1) }
    optimizer one() { accumulate 2  tune step 0.1  constrain positive()  average ema(0.5) }
    """
    agree(text, steps=4)


# ---- guards


def test_guard_keeps_everything_as_it_was_where_the_gradient_is_not_finite():
    text = "optimizer one() { precondition adam()  tune step 0.1 * t  guard finite() }"
    trace = agree(text, spiked())
    assert [m.applied for m in trace.moments] == [True, False, True, True, True]
    first, second = trace.moments[:2]
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for key in first.slots:
        for a, b in zip(first.slots[key], second.slots[key], strict=True):
            np.testing.assert_array_equal(a, b)
    assert all(np.all(np.isfinite(x)) for x in trace.last.weights)


def test_guards_join_and_see_the_step():
    text = """
    rule guard small(limit) { return norm(eta * u) < limit and all(isfinite(w_next)) }
    optimizer one() { tune step 0.3  guard finite()  guard small(0.4) }
    """
    trace = agree(text, spiked())
    assert {m.applied for m in trace.moments} == {True, False}


def test_guard_with_an_average():
    text = """
    optimizer one() { guard finite()  tune step 0.1  average schedule_free() }
    """
    trace = agree(text, spiked())
    assert [m.applied for m in trace.moments] == [True, False, True, True, True]


def test_a_guard_below_accumulate_skips_the_mean_and_starts_again():
    text = """
    optimizer one() {
      accumulate 2
      precondition momentum()
      tune step 0.1
      guard finite()
      observe norm(g) as grad_norm
    }
    """
    trace = agree(text, spiked(), steps=8)
    assert [m.applied for m in trace.moments] == [0, 0, 0, 1, 0, 1, 0, 0]
    assert all(np.all(np.isfinite(x)) for x in trace.last.weights)


# ---- observations


def test_an_observation_every_n_steps_is_nan_when_it_is_not_due():
    text = "optimizer one(n: int = 2) { tune step 0.1  observe norm(w) as size every n }"
    trace = agree(text)
    assert [np.isnan(m.observed["size"]) for m in trace.moments] == [0, 1, 0, 1, 0]


PER_TENSOR = """
optimizer one(lr = 0.1, n: int = 2) {
  group deep where ndim >= 3 {
    precondition sign()
    observe norm(u, per = tensor) as deep every n
    tune step lr
  }
  group rest { tune step lr }
  observe norm(u, per = tensor) / norm(w, per = tensor) as ratio
}
"""


def test_one_number_for_each_tensor_can_be_observed():
    trace = agree(PER_TENSOR, bowl())
    paths = [leaf.path for leaf in bowl().tree.leaves]
    assert list(trace.last.observed["ratio"]) == paths
    deep = [{p: np.sqrt(w.size) for p, w in zip(paths, bowl().weights, strict=True) if w.ndim > 2}]
    assert deep[0]
    for moment, due in zip(trace.moments, [1, 0, 1, 0, 1], strict=True):
        assert moment.observed["deep"].keys() == deep[0].keys()
        for path, length in moment.observed["deep"].items():
            np.testing.assert_allclose(length, deep[0][path] if due else np.nan)


def test_one_number_for_each_tensor_waits_for_the_last_micro_batch():
    text = """
    optimizer one(lr = 0.1) {
      accumulate 2
      tune step lr
      observe mean(u, per = tensor) as means
      observe norm(u) as length
    }
    """
    trace = agree(text, bowl(), steps=4)
    for moment, due in zip(trace.moments, [0, 1, 0, 1], strict=True):
        found = [moment.observed["length"], *moment.observed["means"].values()]
        assert np.isfinite(found).all() if due else np.isnan(found).all()


def test_a_named_value_of_a_stage_can_be_observed():
    text = """
    optimizer one() {
      clip global_norm(0.1)
      clip global_norm(0.05)
      tune step 1
      observe clip.scale as s
      observe clip_2.scale as s2
      observe norm(u) as length
      observe norm(w_next - w) as moved
      observe loss as again
    }
    """
    trace = agree(text)
    for moment in trace.moments:
        np.testing.assert_allclose(moment.observed["length"], 0.05)
        np.testing.assert_allclose(moment.observed["moved"], 0.05)
        assert moment.observed["again"] == moment.loss
        assert 0 < moment.observed["s2"] <= 0.5 + 1e-9


def test_an_observation_changes_no_weight():
    probes = "observe sharpness() as sharp every 2  observe dot(g, hvp(g)) as curved"
    plain = "optimizer one() { precondition momentum()  tune step 0.1  PROBES }"
    with_probes = agree(plain.replace("PROBES", probes), steps=3)
    without = agree(plain.replace("PROBES", ""), steps=3)
    for a, b in zip(with_probes.moments, without.moments, strict=True):
        for x, y in zip(a.weights, b.weights, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_stage_of_one_kind_twice_has_two_states():
    text = "optimizer one() { precondition momentum()  precondition momentum(0.5)  tune step 0.1 }"
    graph = graph_of(text)
    assert [slot.stage for slot in graph.slots] == ["precondition", "precondition_2"]
    agree(text, bowl(), steps=3)


def test_float32_weights_stay_float32_with_every_kind_of_stage():
    text = """
    rule constrain positive() { return max(w_next, -10) }
    optimizer one(lr = 0.1) {
      perturb sam()
      clip global_norm(1.0)
      precondition adam()
      decay weights(0.1) where ndim >= 2
      tune step warmup_cosine(lr, 2, 10)
      constrain positive()
      average ema()
      guard finite()
      observe eta as eta every 2
    }
    """
    optimizer = specimen(text).program()
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), net().params)
    state = optimizer.init(params)
    shape = jax.eval_shape(
        lambda p, s: optimizer.update(p, s, net().batch(0), net().objective), params, state
    )
    assert {x.dtype for x in jax.tree.leaves(shape[0])} == {jnp.dtype(jnp.bfloat16)}
    assert jax.tree.map(lambda x: x.dtype, shape[1]) == jax.tree.map(lambda x: x.dtype, state)
