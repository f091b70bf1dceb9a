"""What each statement means: run both ways, and held against the same thing written in NumPy."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import agree, assert_weights, by_hand, gradient, mistakes, specimen
from bodies import matrix, rule
from tried import FAST, bowl, net

from optc import runtime as rt

# ---- names and states


def test_a_state_keeps_what_was_written_and_later_lines_see_it():
    text = rule("""
        state m = zeros(g)
        before = m
        m <- 0.5 * m + g
        m <- m + before
        return m
    """)
    m = {}

    def update(t, w, g):
        old = m.get(w.shape, 0)
        m[w.shape] = 0.5 * old + g + old
        return w - 0.1 * m[w.shape]

    assert_weights(agree(text, bowl()), by_hand(bowl(), update))


def test_a_state_may_start_from_the_weights():
    text = rule("state first = 2 * w  first <- first  return g + first")
    start = {w.shape: 2 * w for w in bowl().weights}
    trace = agree(text, bowl())
    assert_weights(trace, by_hand(bowl(), lambda t, w, g: w - 0.1 * (g + start[w.shape])))


def test_a_state_may_start_from_the_first_gradient():
    text = rule("state first = g  first <- first  return first")
    first = {g.shape: g for g in gradient(bowl(), 1, bowl().weights)}
    trace = agree(text, bowl())
    assert_weights(trace, by_hand(bowl(), lambda t, w, g: w - 0.1 * first[w.shape]))
    assert all(np.all(x == 0) for x in trace.start["precondition", "first"])


def test_a_scalar_state_may_start_from_a_parameter_and_from_the_first_loss():
    text = rule(
        """
        state a = 3 * scale
        state b = norm(g)
        a <- a + 1
        b <- max(b, norm(g))
        return g * a / b
        """,
        params="scale = 2.0",
    )
    trace = agree(text)
    assert trace.start["precondition", "a"] == 6.0
    assert trace.last.slots["precondition", "a"] == 11.0


def test_a_state_of_one_value_for_each_part_of_a_tensor():
    text = rule("""
        state largest = norm(g, per = unit)
        largest <- max(largest, norm(g, per = unit))
        return g / largest
    """)
    trace = agree(text, bowl())
    shapes = [np.shape(x) for x in trace.last.slots["precondition", "largest"]]
    assert shapes == [(1, 1, 1, 2), (1,), (1, 1), (1, 3, 2), (1, 2)]


def test_zeros_of_a_reduction_wait_for_no_gradient():
    text = rule("""
        state largest = zeros(norm(g, per = unit))
        largest <- max(largest, norm(g, per = unit))
        return g / largest
    """)
    waiting = text.replace("zeros(norm(g, per = unit))", "0 * norm(g, per = unit)")
    trace, same = agree(text, bowl()), agree(waiting, bowl())
    for one, other in zip(trace.last.weights, same.last.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "where" in specimen(waiting).text
    assert "where" not in specimen(text).text


@pytest.mark.parametrize(
    ("stored", "dtype"), [("bf16", ml_dtypes.bfloat16), ("f16", np.float16), ("f32", np.float32)]
)
def test_a_state_is_rounded_between_steps_and_not_inside_one(stored, dtype):
    text = rule(f"state m: {stored} = zeros(g)  m <- 0.9 * m + g  return m")
    trace = agree(text, bowl())
    m = {}

    def update(t, w, g):
        full = 0.9 * m.get(w.shape, 0) + g
        m[w.shape] = full.astype(dtype).astype(float)
        return w - 0.1 * full

    assert_weights(trace, by_hand(bowl(), update))
    state = specimen(text).program().init(jax.tree.map(jnp.array, bowl().params))
    assert state.slots["precondition"]["m"]["two"].dtype == dtype


def test_only_fields_have_a_stored_dtype():
    found = mistakes(rule("state n: bf16 = 0.0  n <- n + 1 / 3  return g * n"))
    assert found == ["type-mismatch: only fields have a stored dtype; `n` is a number"]


def test_stochastic_rounding_keeps_the_two_neighbours():
    text = rule("state m: bf16 stochastic = zeros(g)  m <- 0.9 * m + g  return m")
    trace = agree(text)
    kept = np.concatenate([np.ravel(x) for x in trace.last.slots["precondition", "m"]])
    np.testing.assert_array_equal(kept, kept.astype(ml_dtypes.bfloat16).astype(float))


# ---- choices while running


def test_if_writes_states_on_one_side_only():
    text = rule("""
        state n = 0
        state m = zeros(g)
        if t % 2 == 0 { n <- n + 1  m <- g } else { n <- n + 10 }
        return g + m
    """)
    trace = agree(text)
    assert [m.slots["precondition", "n"] for m in trace.moments] == [10, 11, 21, 22, 32]


def test_if_may_return_on_both_sides():
    text = rule("if norm(g) > 0.4 { return g } else { return 3 * g }")
    trace = agree(text)
    assert len({round(np.ptp(m.weights[1]), 6) for m in trace.moments}) > 1


def test_if_in_if_with_a_state_of_its_own():
    text = rule("""
        var u = g
        if t > 2 {
            state m = zeros(g)
            m <- m + g
            if t > 3 { u <- m } else { u <- 2 * m }
        }
        return u
    """)
    model, m = bowl(), {}

    def update(t, w, g):
        if t <= 2:
            return w - 0.1 * g
        m[w.shape] = m.get(w.shape, 0) + g
        return w - 0.1 * (m[w.shape] if t > 3 else 2 * m[w.shape])

    assert_weights(agree(text, model), by_hand(model, update))


def counted():
    """The net, and a list that grows with each evaluation of its outputs while running."""
    calls = []

    def outputs(params, batch):
        jax.debug.callback(lambda: calls.append(1))
        return net().outputs(params, batch)

    return rt.Objective(outputs=outputs, loss=net().loss), calls


def test_an_oracle_in_the_other_side_of_an_if_is_not_asked():
    text = rule("var u = g  if t == 3 { u <- grad(w + g) }  return u")
    trace = agree(text)
    assert [c["grad"] for c in trace.counts] == [1, 1, 2, 1, 1]
    optimizer = specimen(text).program()
    objective, calls = counted()
    with jax.enable_x64(True):
        step = jax.jit(optimizer.update, static_argnums=3, compiler_options=FAST)
        params = jax.tree.map(jnp.array, net().params)
        state, seen = optimizer.init(params), []
        for number in range(4):
            params, state, _ = step(params, state, net().batch(number), objective)
            jax.effects_barrier()
            seen.append(len(calls))
            calls.clear()
    assert seen[0] == seen[1] == seen[3]
    assert seen[2] == 2 * seen[0]


def test_every_runs_on_the_first_step_and_each_nth_after_it():
    text = rule("state n = 0  every period { n <- n + 1 }  return g", params="period: int = 2")
    trace = agree(text)
    assert [m.slots["precondition", "n"] for m in trace.moments] == [1, 1, 2, 2, 3]


def test_every_asks_its_oracle_only_when_due():
    trace = agree(rule("state h = zeros(g)  every 3 { h <- hvp(g) }  return g + h"))
    assert [c.get("hvp", 0) for c in trace.counts] == [1, 0, 0, 1, 0]


def test_no_random_field_is_drawn_in_the_condition_of_a_loop():
    text = rule("var k = g  repeat 3 while any(normal(w) > 0) { k <- k + g }  return k")
    assert mistakes(text) == ["random-of: `normal` cannot be drawn in the condition of a loop"]


# ---- loops


def test_repeat_changes_vars_a_static_number_of_times():
    text = rule(
        "var x = g  var n = 0  repeat times { x <- x / 2  n <- n + 1 }  return x * n",
        params="times: int",
        optimizer="times: int = 3",
    )
    assert_weights(agree(text, bowl()), by_hand(bowl(), lambda t, w, g: w - 0.1 * 3 * g / 8))
    assert_weights(agree(text, bowl(), times=0), [bowl().weights] * 5)


def test_repeat_while_stops_when_its_condition_fails():
    text = rule(
        """
        var x = 1
        var rounds = 0
        repeat 20 while x < 10 * t { x <- 2 * x  rounds <- rounds + 1 }
        seen = rounds
        return x * g
    """,
        more="observe precondition.seen as rounds",
    )
    trace = agree(text, bowl())
    assert [m.observed["rounds"] for m in trace.moments] == [4, 5, 5, 6, 6]


def test_loops_nest_and_see_what_is_around_them():
    text = rule("""
        var x = g
        var outer = 0
        repeat 3 {
            outer <- outer + 1
            y = outer * w
            repeat 2 { x <- 0.5 * x + 0.1 * y }
        }
        return x
    """)

    def update(t, w, g):
        x = g
        for outer in (1, 2, 3):
            for _ in range(2):
                x = 0.5 * x + 0.1 * outer * w
        return w - 0.1 * x

    assert_weights(agree(text, bowl()), by_hand(bowl(), update))


def test_a_loop_may_write_a_state_and_choose_inside():
    text = rule("""
        state m = zeros(g)
        state n = 0
        repeat 4 {
            if n % 3 == 0 { m <- m + g } else { m <- 0.9 * m }
            n <- n + 1
        }
        return m
    """)
    model, kept = bowl(), {}

    def update(t, w, g):
        m, n = kept.get(w.shape, (0, 0))
        for _ in range(4):
            m, n = (m + g if n % 3 == 0 else 0.9 * m), n + 1
        kept[w.shape] = m, n
        return w - 0.1 * m

    assert_weights(agree(text, model), by_hand(model, update))


def test_when_inside_a_loop():
    text = rule("""
        var x = g
        repeat 2 { when ndim >= 2 { x <- 2 * x } else { x <- x + 1 } }
        return x
    """)
    expected = by_hand(bowl(), lambda t, w, g: w - 0.1 * (4 * g if matrix(w) else g + 2))
    assert_weights(agree(text, bowl()), expected)


def test_a_random_field_in_a_loop_is_another_one_in_each_round():
    text = rule(
        """
        var total = zeros(w)
        var squares = 0
        repeat 3 {
            z = normal(w)
            total <- total + z
            squares <- squares + dot(z, z)
            repeat 2 { total <- total + uniform(w) }
        }
        together = squares
        return total
    """,
        more="observe precondition.together as squares  observe dot(u, u) as sum_squared",
    )
    trace = agree(text, steps=3)
    observed = [m.observed["squares"] for m in trace.moments]
    assert len(set(observed)) == 3
    # Three equal draws would sum to three times each, so to nine times its square.
    equal = 3 * trace.moments[0].observed["squares"]
    assert abs(trace.moments[0].observed["sum_squared"] - equal) > 1e-3


def test_an_oracle_at_a_moving_point_is_asked_in_each_round():
    trace = agree(rule("var p = w  repeat 3 { p <- p - 0.1 * grad(p) }  return w - p"))
    assert [c["grad"] for c in trace.counts] == [4] * 5


# ---- choices by tensor, choices while running and loops inside each other


START = {"x": "var x = g", "m": "state m = zeros(g)"}
NESTED = [
    ("x", "{ repeat 2 { x <- 2 * x } }"),
    ("x", "{ repeat 2 { x <- 2 * x } } else { repeat 3 { x <- x + 1 } }"),
    ("m", "{ if t > 1 { m <- g } else { m <- 2 * g } } else { m <- m + 1 }"),
    ("m", "{ if t > 1 { m <- normal(w) } else { m <- g } }"),
    ("m", "{ every 2 { state k = w  k <- g  m <- k + w } }"),
    ("x", "{ var k = 0  repeat 3 while k < 2 { x <- x + g  k <- k + 1 } }"),
]


@pytest.mark.parametrize(("name", "choice"), NESTED)
def test_control_flow_in_a_choice_by_tensor_concerns_its_tensors_only(name, choice):
    agree(rule(f"{START[name]}  when ndim >= 2 {choice}  return g + {name}"), steps=3)


def test_a_number_for_all_tensors_cannot_change_for_some_of_them():
    found = mistakes(rule("var n = 1  when ndim >= 2 { n <- 2 }  return n * g"))
    assert found == [
        "type-mismatch: `n` is one number for all tensors; some of them cannot change it"
    ]


@pytest.mark.parametrize(
    "body",
    [
        "state a = norm(w)  state b = norm(w)  a <- a + 1  b <- b + 2  return g * a * b",
        "state a = max(w, w)  state b = 2 * w  state c = 2 * w  a <- b  b <- c  c <- a  return a",
        "state a = scale  state b = scale * ones(w)  state c = scale * ones(w)"
        "  a <- 2  b <- g  c <- g  return a * b + c",
    ],
)
def test_states_that_start_alike_have_buffers_of_their_own(body):
    # Programs are run with donated arguments, and one buffer cannot be donated twice.
    agree(rule(body, params="scale", optimizer="scale = 2.0"), steps=3)


def test_a_state_has_the_tensors_of_its_stage_whatever_is_written_to_it():
    """The gradient has all tensors; of it a limited stage keeps its own."""
    trace = agree("""
    rule precondition own() {
      state previous = zeros(g)
      d = g - previous
      previous <- g
      return g + d
    }
    optimizer one() { precondition own() where ndim >= 2  tune step 0.1 }
    """)
    start = trace.start["precondition", "previous"]
    last = trace.last.slots["precondition", "previous"]
    assert [x is None for x in last] == [x is None for x in start]
    assert any(x is None for x in start)
