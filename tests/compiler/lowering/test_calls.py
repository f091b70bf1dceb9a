"""Calls: functions, schedules and rules that rules call, reductions by part, random fields."""

import numpy as np
import pytest
from agreement import agree, assert_weights, by_hand, gradient, graph_of, interpret, mistakes
from tried import bowl, net

from optc.compiler.graph import walk


def direction(value, body="", more=""):
    """A spec whose direction is `value`, after `body`."""
    return f"""
    rule precondition own() {{ {body} return {value} }}
    {more}
    optimizer one() {{ precondition own()  tune step 0.1 }}
    """


def after(update, steps=3):
    return by_hand(bowl(), lambda t, w, g: w - 0.1 * update(t, w, g), steps)


# ---- functions of the language


ELEMENTWISE = {
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "exp": np.exp,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "arctan": np.arctan,
    "round": np.round,
    "floor": np.floor,
    "ceil": np.ceil,
}
OF_POSITIVE = {"sqrt": np.sqrt, "log": np.log, "log1p": np.log1p}
OF_SMALL = {"arcsin": np.arcsin, "arccos": np.arccos}


def test_elementwise_functions_are_those_of_numpy():
    # One spec for all: the weights of each are one more term.
    terms = [f"{name}(g)" for name in ELEMENTWISE]
    terms += [f"{name}(1 + abs(g))" for name in OF_POSITIVE]
    terms += [f"{name}(tanh(g))" for name in OF_SMALL]
    terms += [
        "arctan2(g, w)",
        "clamp(g, -0.5, 1)",
        "max(g, w, 0)",
        "min(g, w)",
        "where(g > w, g, 1)",
    ]

    def update(t, w, g):
        found = [f(g) for f in ELEMENTWISE.values()]
        found += [f(1 + np.abs(g)) for f in OF_POSITIVE.values()]
        found += [f(np.tanh(g)) for f in OF_SMALL.values()]
        found += [np.arctan2(g, w), np.clip(g, -0.5, 1), np.maximum(np.maximum(g, w), 0)]
        return np.sum([*found, np.minimum(g, w), np.where(g > w, g, 1)], axis=0) / 100

    text = direction(f"({' + '.join(terms)}) / 100")
    assert_weights(agree(text, bowl(), 2), after(update, 2))


def test_operators_bind_and_group_as_in_the_papers():
    values = (
        "-g^2",
        "2^-2 * g",
        "2^3^0.5 * g",
        "(g - w) - (g - 2 * w)",
        "g - (w - g)",
        "g / (w / 3)",
        "g / w / 3",
        "g * (2 / w)",
        "-(g + w)",
        "(-g)^2",
        "2 * -g",
        "7 % 4 * g",
    )
    text = direction(f"(({') + ('.join(values)})) * 0.01")

    def update(t, w, g):
        found = (
            -(g**2),
            0.25 * g,
            2 ** (3**0.5) * g,
            w,
            2 * g - w,
            3 * g / w,
            g / w / 3,
            2 * g / w,
            -g - w,
            g**2,
            -2 * g,
            3 * g,
        )
        return np.sum(found, axis=0) * 0.01

    assert_weights(agree(text, bowl(), 2), after(update, 2))


def test_conditions_join_elementwise():
    text = direction("where((g > 0 and w > 0) or not (g < 1), g, -g)")

    def update(t, w, g):
        return np.where(((g > 0) & (w > 0)) | ~(g < 1), g, -g)

    assert_weights(agree(text, bowl(), 2), after(update, 2))


def test_integer_arithmetic_of_t_does_not_overflow_or_lose_digits():
    text = direction("g * (sqrt(t) + t / 3 + cos(t) + (t + 100)^8 / 1e18 + round(t / 2) + 2^-t)")

    def update(t, w, g):
        return g * (
            np.sqrt(t) + t / 3 + np.cos(t) + (t + 100.0) ** 8 / 1e18 + np.round(t / 2) + 2.0**-t
        )

    assert_weights(agree(text, bowl()), after(update, 5))


# ---- reductions


PARTS = {
    "tensor": lambda x: tuple(range(x.ndim)),
    "row": lambda x: (x.ndim - 1,),
    "column": lambda x: (x.ndim - 2,),
    "matrix": lambda x: (x.ndim - 2, x.ndim - 1),
}


@pytest.mark.parametrize("per", PARTS)
def test_reductions_by_part_keep_their_axes(per):
    names = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min}
    terms = [f"{name}(g, per = {per})" for name in names]
    terms += [f"norm(g, per = {per})", f"dot(g, w, per = {per})"]

    def update(t, w, g):
        axes = PARTS[per](g) if g.ndim >= 2 else None
        parts = [f(g, axis=axes, keepdims=True) for f in names.values()]
        parts.append(np.sqrt(np.sum(g * g, axis=axes, keepdims=True)))
        parts.append(np.sum(g * w, axis=axes, keepdims=True))
        return g * 0.01 * sum(parts)

    text = direction(f"0.01 * g * ({' + '.join(terms)})")
    assert_weights(agree(text, bowl(), 2), after(update, 2))


def test_per_unit_is_one_value_for_each_output():
    def update(t, w, g):
        # As optax.adaptive_grad_clip: (inputs, outputs), heads for three axes, and kernels.
        axes = {1: None, 2: 0, 3: 0, 4: (0, 1, 2)}[g.ndim] if max(g.shape) != g.size else None
        return g / np.sqrt(np.sum(g * g, axis=axes, keepdims=True))

    text = direction("g / norm(g, per = unit)")
    assert_weights(agree(text, bowl(), 2), after(update, 2))


def test_whole_reductions_run_over_the_whole_vector():
    terms = "sum(g) + mean(g) + max(g) + min(g) + norm(g) + dot(g, w)"
    text = direction(f"g * ({terms})")
    g = gradient(bowl(), 1, bowl().weights)
    x, w = (np.concatenate([np.ravel(p) for p in parts]) for parts in (g, bowl().weights))
    scale = x.sum() + x.mean() + x.max() + x.min() + np.sqrt(x @ x) + x @ w
    expected = [w - 0.1 * scale * g for w, g in zip(bowl().weights, g, strict=True)]
    assert_weights(agree(text, bowl(), 1), [expected])


def test_verdicts_over_a_field():
    text = direction(
        "where(all(g > -100) and not any(g > 100), 1, 0) * g + where(any(w > 0), 1, 0) * w"
    )
    assert_weights(agree(text, bowl(), 2), after(lambda t, w, g: g + w, 2))


def test_values_by_part_mix_with_fields_and_scalars():
    body = "row = norm(g, per = row)  column = max(abs(g), per = column)  m = zeros(g)  "
    body += "scale = norm(row) "
    text = direction("g / (row + column + scale) + m", body)
    agree(text, bowl(), 2)


# ---- declared functions, schedules and rules


def test_a_function_takes_fields_and_scalars_alike():
    more = """
    func twice(x, by = 2) { return by * x }
    func both(x, y) { a = twice(x)  return twice(a, by = 3) + twice(y) }
    """
    text = direction("both(g, w) * twice(0.1)", more=more)
    assert_weights(agree(text, bowl(), 2), after(lambda t, w, g: (6 * g + 2 * w) * 0.2, 2))


def test_a_function_may_keep_a_state_of_the_shape_of_its_argument():
    text = """
    func total(x) { state sum = zeros(x)  sum <- sum + x  return sum }
    rule precondition own() { return total(g) + total(norm(g, per = tensor)) * g }
    optimizer one() { precondition own()  tune step 0.1 }
    """
    agree(text, steps=2)
    scalar = text.replace(" + total(norm(g, per = tensor)) * g", " * total(norm(g))")
    assert mistakes(scalar) == ["type-mismatch: `zeros` takes a field; this is a scalar"]


def test_a_function_may_loop_over_vars_of_its_own():
    more = """
    func powers(x, n: int) {
      var total = x
      var power = x
      repeat n { power <- power * x  total <- total + power }
      return total
    }
    """
    text = direction("0.01 * powers(g, n = 3) + 0.1 * powers(0.5, 2)", more=more)

    def update(t, w, g):
        return 0.01 * (g + g**2 + g**3 + g**4) + 0.1 * 0.875

    assert_weights(agree(text, bowl(), 2), after(update, 2))


def test_a_rule_calls_rules_of_its_kind_each_with_states_of_its_own():
    text = """
    rule precondition own() {
      a = momentum(g, beta = 0.5)
      b = momentum(a, beta = 0.9)
      return a + b
    }
    optimizer one() { precondition own()  tune step 0.1 }
    """
    m = {}

    def update(t, w, g):
        a, b = m.get(w.shape, (0, 0))
        a = 0.5 * a + g
        b = 0.9 * b + a
        m[w.shape] = a, b
        return w - 0.1 * (a + b)

    trace = agree(text, bowl())
    assert_weights(trace, by_hand(bowl(), update))
    assert len(trace.last.slots) == 2


def test_a_decay_rule_and_a_tune_rule_call_their_like():
    text = """
    rule decay more(rate) { return weights(u, rate = rate) + weights(u, rate = 0) }
    rule tune half() { return polyak(max_step = 0.1) / 2 }
    optimizer one() { decay more(0.1)  tune step half() }
    """
    agree(text)


def test_schedules_may_be_called_in_rules():
    text = direction("g * linear_decay(peak = 1, total = 4, warmup = 2)")
    rates = [1 / 2, 1, 1 / 2, 0, 0]
    assert_weights(agree(text, bowl()), after(lambda t, w, g: rates[t - 1] * g, 5))


@pytest.mark.parametrize(
    "call",
    [
        "constant(0.1)",
        "exponential_decay(0.1, 2, 0.5)",
        "inverse_sqrt(0.1, 2)",
        "linear_decay(0.1, 4)",
        "warmup_cosine(0.1, 2, 4, floor = 0.01)",
        "wsd(0.1, 1, 5, share = 0.5)",
    ],
)
def test_a_shipped_schedule_runs_as_its_graph_says(call):
    agree(f"optimizer one() {{ tune step {call}  observe eta as eta }}", bowl())


def test_a_file_may_declare_what_the_library_has():
    text = """
    func norm(x) { return dot(x, x) }
    rule clip global_norm(limit) { return g * limit / norm(g) }
    optimizer one() { clip global_norm(2)  tune step 0.1 }
    """
    g = gradient(bowl(), 1, bowl().weights)
    squared = sum(np.sum(x * x) for x in g)
    expected = [w - 0.1 * 2 * x / squared for w, x in zip(bowl().weights, g, strict=True)]
    assert_weights(agree(text, bowl(), 1), [expected])


def test_what_calls_itself_is_refused():
    text = direction("loop(g)", more="func loop(x) { return loop(x) }")
    assert mistakes(text) == ["recursive-rule: `loop` calls itself"]


# ---- parameters


def test_a_derived_default_follows_what_it_is_derived_from():
    text = """
    optimizer one(a = 1.0, b = a / 10, n: int = 4, m: int = n % 3 + 1) {
      clip global_norm(a)
      decay weights(b)
      tune step 0.1 / m
      observe a as a
      observe b as b
      observe m + 0.0 as m
    }
    """
    first = agree(text, bowl(), 1).last.observed
    assert first == {"a": 1.0, "b": 0.1, "m": 2.0}
    other = agree(text, bowl(), 1, a=3.0, n=5).last.observed
    assert other == pytest.approx({"a": 3.0, "b": 0.3, "m": 3.0})
    assert agree(text, bowl(), 1, a=3.0, b=7.0).last.observed["b"] == 7.0


def test_functions_may_stand_in_derived_defaults():
    text = """
    optimizer one(a = 4.0, b = sqrt(a), c = max(a, 2 * b) ^ 2 - 1, d = -c) {
      tune step 0.1
      observe b as b
      observe c as c
      observe d as d
    }
    """
    assert agree(text, bowl(), 1).last.observed == {"b": 2.0, "c": 15.0, "d": -15.0}
    assert agree(text, bowl(), 1, a=9.0).last.observed == {"b": 3.0, "c": 80.0, "d": -80.0}


# ---- random fields


def test_each_draw_has_a_stream_of_its_own():
    text = direction("z", "z = normal(w) + rademacher(w) + uniform(w) - normal(w)")
    trace = agree(text, steps=2)
    steps = [
        np.concatenate([np.ravel(a - b) for a, b in zip(x, y, strict=True)])
        for x, y in (
            (trace.moments[0].weights, net().weights),
            (trace.moments[1].weights, trace.moments[0].weights),
        )
    ]
    assert np.all(np.abs(steps[0] - steps[1]) > 1e-9)
    sites = [n["site"] for n in walk(graph_of(text).step) if n.op in ("normal", "uniform")]
    assert len(set(sites)) == len(sites)


def test_random_fields_can_be_handed_in():
    graph = graph_of(direction("rademacher(w)"))
    trace = interpret(graph, steps=1)
    moved = [np.abs(a - b) for a, b in zip(trace.last.weights, net().weights, strict=True)]
    assert all(np.allclose(x, 0.1) for x in moved)


# ---- oracles


def test_oracles_at_one_point_are_one_evaluation():
    text = direction("hvp(g, at = p) + grad(p)", "p = w + 0.1 * g  v = loss(p)  ", "")
    text = text.replace("return hvp", "return v * hvp")
    points = [n for n in walk(graph_of(text).step) if n.op == "point"]
    assert len(points) == 2
    agree(text)


def test_outputs_and_their_derivative():
    agree(direction("pullback(outputs_grad(w)) + pullback(outputs(w), at = w + g)"))
