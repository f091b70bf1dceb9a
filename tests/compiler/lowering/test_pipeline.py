"""What each kind of stage does to the signal: run both ways, and held against NumPy."""

import numpy as np
import pytest
from agreement import agree, assert_weights, by_hand, gradient, mistakes, specimen
from tried import bowl, net

DOUBLE = "rule precondition double() { return 2 * g }\n"


def rank(x):
    return np.ndim(x)


# ---- groups


GROUPS = """
rule precondition heavy(beta) { state m = zeros(g)  m <- beta * m + g  return m }
optimizer one(lr = 0.1) {
  group deep where ndim >= 3 {
    precondition heavy(0.9)
    observe norm(u) as deep_norm
    tune step lr
  }
  group flat where ndim == 2 { tune step 2 * lr }
  group rest {
    clip value(0.5)
    decay weights(0.1) where size > 3
    tune step lr / 2
    observe eta as slow
  }
  observe norm(u) as all_norm
}
"""


def test_groups_send_tensors_through_different_stages():
    trace = agree(GROUPS, bowl())
    m = {}

    def update(t, w, g):
        if rank(w) >= 3:
            m[w.shape] = 0.9 * m.get(w.shape, 0) + g
            return w - 0.1 * m[w.shape]
        return w - (0.2 * g if rank(w) == 2 else 0.05 * np.clip(g, -0.5, 0.5))

    assert_weights(trace, by_hand(bowl(), update))
    kept = trace.last.slots["deep.precondition", "m"]
    assert [x is None for x in kept] == [rank(w) < 3 for w in bowl().weights]


def test_an_observation_in_a_group_sees_its_tensors_only():
    trace = agree(GROUPS, bowl(), steps=1)
    g = gradient(bowl(), 1, bowl().weights)
    deep = np.sqrt(sum(np.sum(x**2) for x in g if rank(x) >= 3))
    np.testing.assert_allclose(trace.last.observed["deep_norm"], deep)
    np.testing.assert_allclose(trace.last.observed["slow"], 0.05)


def test_a_reduction_in_a_group_runs_over_the_group():
    text = """
    optimizer one() {
      clip global_norm(1.0)
      group deep where ndim >= 3 { clip global_norm(0.1)  tune step 1 }
      group rest { tune step 0.5 }
    }
    """
    trace = agree(text, bowl(), steps=1)
    g = gradient(bowl(), 1, bowl().weights)
    whole = np.sqrt(sum(np.sum(x**2) for x in g))
    g = [x * min(1, 1 / whole) for x in g]
    deep = np.sqrt(sum(np.sum(x**2) for x in g if rank(x) >= 3))
    pairs = zip(bowl().weights, g, strict=True)
    expected = [w - (x * min(1, 0.1 / deep) if rank(w) >= 3 else x / 2) for w, x in pairs]
    assert_weights(trace, [expected])


def test_groups_before_one_common_step_size():
    text = (
        DOUBLE
        + """
    optimizer one() {
      group a where path matches "^t" { precondition double() }
      group rest { clip value(0.1) }
      decay weights(0.01)
      tune step 0.1
      decay weights(0.001)
    }
    """
    )
    names = sorted(bowl().params)
    chosen = {np.shape(bowl().params[n]) for n in names if n.startswith("t")}

    def update(t, w, g):
        u = 2 * g if w.shape in chosen else np.clip(g, -0.1, 0.1)
        return w - (0.1 * (u + 0.01 * w) + 0.001 * w)

    assert_weights(agree(text, bowl()), by_hand(bowl(), update))


def test_a_group_may_choose_by_tensor_again():
    text = """
    rule precondition own() { when ndim == 3 { return 3 * g } else { return g } }
    optimizer one() {
      group deep where ndim >= 3 { precondition own()  tune step 0.1 }
      group rest { precondition own()  tune step 0.1 }
    }
    """
    expected = by_hand(bowl(), lambda t, w, g: w - (0.3 if rank(w) == 3 else 0.1) * g)
    assert_weights(agree(text, bowl()), expected)


def test_weights_that_fall_into_no_group_are_refused_by_name():
    text = """
    optimizer one() {
      group deep where ndim >= 2 { tune step 0.1 }
      group flat where ndim == 1 { tune step 0.2 }
    }
    """
    expected = by_hand(bowl(), lambda t, w, g: w - (0.2 if rank(w) == 1 else 0.1) * g)
    assert_weights(agree(text, bowl()), expected)
    program = specimen(text).program
    with pytest.raises(ValueError, match="a tensor is in no group: scale"):
        program().init(net().params)


@pytest.mark.filterwarnings("ignore::optc.runtime.GroupWarning")
def test_a_group_without_tensors_changes_nothing():
    text = """
    optimizer one() {
      group none where ndim == 7 { clip global_norm(1.0)  precondition adam()  tune step 0.1 }
      group rest { tune step 0.1 }
      observe norm(g) as norm
    }
    """
    assert_weights(agree(text, bowl()), by_hand(bowl(), lambda t, w, g: w - 0.1 * g))


# ---- where


WHERE = {
    "perturb": ("rule perturb own() { return 2 * g }", "perturb own() where ndim >= 3"),
    "clip": ("rule clip own() { return 2 * g }", "clip own() where ndim >= 3"),
    "precondition": (
        "rule precondition own() { state m = zeros(g)  m <- 2 * g  return m }",
        "precondition own() where ndim >= 3",
    ),
    "decay": ("rule decay own() { return 2 * u }", "decay own() where ndim >= 3"),
}


@pytest.mark.parametrize("kind", WHERE)
def test_where_limits_a_stage_to_some_tensors(kind):
    rule, stage = WHERE[kind]
    text = f"{rule}\noptimizer one() {{ {stage}  tune step 0.1 }}"
    expected = by_hand(bowl(), lambda t, w, g: w - (0.2 if rank(w) >= 3 else 0.1) * g)
    assert_weights(agree(text, bowl(), 3), expected[:3])


def test_two_stages_limited_in_two_ways():
    text = """
    optimizer one() {
      decay weights(0.1) where ndim >= 3
      decay weights(0.2) where size > 4 and not path matches "four|two"
      tune step 0.1
      decay weights(0.3) where ndim < 2 or path == "two"
    }
    """
    paths = {np.shape(x): name for name, x in bowl().params.items()}

    def update(t, w, g):
        first = 0.1 * w if rank(w) >= 3 else 0
        second = 0.2 * w if w.size > 4 and paths[w.shape] not in ("four", "two") else 0
        last = 0.3 * w if rank(w) < 2 or paths[w.shape] == "two" else 0
        return w - 0.1 * (g + first + second) - last

    assert_weights(agree(text, bowl()), by_hand(bowl(), update))


def test_where_on_constrain_and_average():
    text = """
    rule constrain positive() { return max(w_next, 0) }
    rule average half() { state a = w  a <- (a + w_next) / 2  evaluate a  return w_next }
    optimizer one() {
      tune step 0.1
      constrain positive() where ndim >= 3
      average half()
    }
    """

    def update(t, w, g):
        new = w - 0.1 * g
        return np.maximum(new, 0) if rank(w) >= 3 else new

    assert_weights(agree(text, bowl()), by_hand(bowl(), update))


@pytest.mark.parametrize("stage", ["tune step 0.1", "accumulate 2", "guard finite()"])
def test_where_is_refused_on_what_concerns_the_whole_step(stage):
    text = f"optimizer one() {{ {stage} where ndim >= 2  tune step 0.1 }}"
    assert any(m.startswith("bad-where") for m in mistakes(text))


# ---- the step


def test_decay_after_the_step_does_not_scale_with_it():
    text = "optimizer one(lr = 0.1) { tune step lr  decay weights(0.01) }"
    expected = by_hand(bowl(), lambda t, w, g: w - 0.5 * g - 0.01 * w)
    assert_weights(agree(text, bowl(), lr=0.5), expected)


def test_one_step_size_for_each_tensor():
    text = """
    rule tune ratio() { return norm(w, per = tensor) / norm(u, per = tensor) }
    optimizer one() { tune step 0.01 * ratio() }
    """

    def update(t, w, g):
        return w - 0.01 * np.linalg.norm(w) / np.linalg.norm(g) * g

    assert_weights(agree(text, bowl()), by_hand(bowl(), update))


def test_schedules_and_rules_multiply():
    text = """
    rule tune steep() { return 1 / (1 + norm(u)) }
    schedule ramp(to, steps) = to * min(t / steps, 1)
    optimizer one(lr = 0.3) { tune step ramp(lr, 3) * steep() * ramp(2, 4) }
    """
    trace = agree(text, bowl())
    model, weights = bowl(), list(bowl().weights)
    expected = []
    for t in range(1, 6):
        g = gradient(model, t, weights)
        norm = np.sqrt(sum(np.sum(x**2) for x in g))
        eta = 0.3 * min(t / 3, 1) * 2 * min(t / 4, 1) / (1 + norm)
        weights = [w - eta * x for w, x in zip(weights, g, strict=True)]
        expected.append(weights)
    assert_weights(trace, expected)


def test_constrain_sees_the_weights_before_and_after_the_step():
    text = """
    rule constrain exponentiated() { return w * exp(-eta * u * sign(w)) }
    rule constrain bounded(limit = 1.0) { return clamp(w_next, -limit, limit) }
    optimizer one() { tune step 0.1  constrain exponentiated()  constrain bounded(1.5) }
    """

    def update(t, w, g):
        return np.clip(w * np.exp(-0.1 * g * np.sign(w)), -1.5, 1.5)

    trace = agree(text, bowl())
    assert_weights(trace, by_hand(bowl(), update))
