"""What each statement means: run both ways, and held against the same thing written in NumPy."""

import time

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import (
    FAST,
    agree,
    assert_weights,
    bowl,
    by_hand,
    gradient,
    interpret,
    mistakes,
    net,
    specimen,
)

import optc
from optc import runtime as rt


def rule(body, params="", kind="precondition", optimizer="", more=""):
    """A spec with one rule `own` and the optimizer that uses it."""
    place = {"precondition": "precondition own(ARGS)\n  tune step 0.1"}[kind]
    names = ", ".join(p.split(":")[0].split("=")[0].strip() for p in optimizer.split(",") if p)
    return f"""
    rule {kind} own({params}) {{ {body} }}
    optimizer one({optimizer}) {{ {place.replace("ARGS", names)} {more} }}
    """


def matrix(x):
    return np.ndim(x) >= 2


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


# ---- choices by tensor


def test_when_chooses_by_tensor_and_keeps_states_apart():
    text = rule("""
        when ndim >= 2 {
            state m = zeros(g)
            m <- 0.9 * m + g
            return m
        } else {
            return 2 * g
        }
    """)
    m = {}

    def update(t, w, g):
        if not matrix(w):
            return w - 0.2 * g
        m[w.shape] = 0.9 * m.get(w.shape, 0) + g
        return w - 0.1 * m[w.shape]

    trace = agree(text, bowl())
    assert_weights(trace, by_hand(bowl(), update))
    kept = trace.last.slots["precondition", "m"]
    assert [x is not None for x in kept] == [matrix(w) for w in bowl().weights]


def test_when_may_go_on_after_writing_a_state_for_some_tensors():
    text = rule("""
        state m = zeros(g)
        when path matches "^t" and size < 10 { m <- g } else { m <- 3 * g }
        return m
    """)
    small = [n.startswith("t") and x.size < 10 for n, x in sorted(bowl().params.items())]
    chosen = {w.shape for w, s in zip(bowl().weights, small, strict=True) if s}
    trace = agree(text, bowl())
    expected = by_hand(bowl(), lambda t, w, g: w - (0.1 if w.shape in chosen else 0.3) * g)
    assert_weights(trace, expected)


def test_when_on_one_side_leaves_the_others_alone():
    text = rule("var u = g  when ndim == 1 { u <- u + w }  return u")
    expected = by_hand(bowl(), lambda t, w, g: w - 0.1 * (g + w * (w.ndim == 1)))
    assert_weights(agree(text, bowl()), expected)


def test_else_when_goes_on_choosing():
    text = rule("""
        when ndim == 1 { return g } else when ndim == 2 { return 2 * g } else { return 3 * g }
    """)
    expected = by_hand(bowl(), lambda t, w, g: w - 0.1 * min(w.ndim, 3) * g)
    assert_weights(agree(text, bowl()), expected)


def test_a_reduction_inside_when_runs_over_its_tensors():
    text = rule("when ndim >= 3 { return g / norm(g) } else { return g * norm(w) }")
    model = bowl()
    trace = agree(text, model, steps=1)
    g = gradient(model, 1, model.weights)
    deep = np.sqrt(sum(np.sum(x**2) for x in g if x.ndim >= 3))
    flat = np.sqrt(sum(np.sum(x**2) for x in model.weights if x.ndim < 3))
    pairs = zip(model.weights, g, strict=True)
    assert_weights(trace, [[w - 0.1 * (x / deep if x.ndim >= 3 else x * flat) for w, x in pairs]])


# ---- choices by parameter


NESTEROV = rule(
    """
    state trace = zeros(g)
    trace <- 0.9 * trace + g
    when nesterov { return g + 0.9 * trace } else { return trace }
    """,
    params="nesterov: bool",
    optimizer="nesterov: bool = true",
)


@pytest.mark.parametrize("nesterov", [True, False])
def test_when_chooses_by_a_static_parameter(nesterov):
    trace = agree(NESTEROV, bowl(), nesterov=nesterov)
    m = {}

    def update(t, w, g):
        m[w.shape] = 0.9 * m.get(w.shape, 0) + g
        return w - 0.1 * (g + 0.9 * m[w.shape] if nesterov else m[w.shape])

    assert_weights(trace, by_hand(bowl(), update))


def test_when_by_a_static_parameter_may_write_states():
    text = rule(
        """
        state m = zeros(g)
        when heavy > 1 { m <- m + g } else { m <- g }
        return m
        """,
        params="heavy: int",
        optimizer="heavy: int = 1",
    )
    plain = by_hand(bowl(), lambda t, w, g: w - 0.1 * g)
    assert_weights(agree(text, bowl(), heavy=1), plain)
    agree(text, bowl(), heavy=2)


@pytest.mark.parametrize("called", [False, True])
def test_a_side_that_is_not_chosen_keeps_no_tensors(called):
    mean = """
          state mean = zeros(g)
          mean <- mean + (g - mean) / t
          return mean
    """
    total = (
        "return added(g)" if called else "state total = zeros(g) total <- total + g return total"
    )
    text = (
        """
        func added(x) { return summed(1, x) }
        func summed(k, x) { state total = zeros(x)  total <- total + k * x  return total }
        """
        if called
        else ""
    ) + rule(
        f"""
        when mode == "none" {{
          return g
        }} else when mode == "mean" {{
          {mean}
        }} else {{
          {total}
        }}
        """,
        params="mode: str",
        optimizer='mode: str = "none"',
    )
    assert_weights(agree(text, bowl()), by_hand(bowl(), lambda t, w, g: w - 0.1 * g))
    for mode, kept in (("none", []), ("mean", ["mean"]), ("other", ["total"])):
        agree(text, bowl(), mode=mode)
        slots = optc.compile(text)(mode=mode).init({"w": jnp.ones(2)}).slots["precondition"]
        assert [name for name, value in slots.items() if jax.tree.leaves(value)] == kept


@pytest.mark.parametrize("asked", ["hvp(m)", "bent(m)", "twice(hvp, m)", "twice(d => bent(d), m)"])
def test_a_side_that_keeps_tensors_may_ask_the_whole_model(asked):
    text = """
    func bent(x) { return 0.5 * hvp(x) }
    func twice(op, x) { return op(op(x)) }
    """ + rule(
        f"""
        when heavy {{
          state m = zeros(g)
          m <- m + g
          return m + 0.1 * {asked}
        }} else {{
          return g
        }}
        """,
        params="heavy: bool",
        optimizer="heavy: bool = true",
    )
    agree(text, bowl(), heavy=True)
    assert_weights(agree(text, bowl(), heavy=False), by_hand(bowl(), lambda t, w, g: w - 0.1 * g))


@pytest.mark.parametrize("condition", ["k + 1 > 4", "max(k, 2) > 3", "-k < -3", "2 * k % 3 == 2"])
def test_arithmetic_decides_which_side_keeps_its_tensors(condition):
    text = rule(
        f"""
        when {condition} {{
          state m = zeros(g)
          m <- 0.9 * m + g
          return m
        }} else {{
          return g
        }}
        """,
        params="k: int",
        optimizer="k: int = 1",
    )
    case = specimen(text)
    for k, kept in ((1, {"2 * k % 3 == 2"}), (4, {condition})):
        agree(case, bowl(), 2, k=k)
        slots = case.program(k=k).init({"w": jnp.ones(2)}).slots["precondition"]
        assert bool(jax.tree.leaves(slots)) == (condition in kept)


def test_what_calls_itself_in_many_ways_is_followed_once():
    deep = "".join(f"func f{i}(x) {{ return f{i + 1}(x) + f{i + 1}(2 * x) }}\n" for i in range(60))
    text = (
        deep
        + "func f60(x) { state m = zeros(x)  m <- x  return m }\n"
        + rule(
            "when heavy { return f0(g) } else { return g }",
            params="heavy: bool",
            optimizer="heavy: bool = true",
        )
    )
    started = time.process_time()
    assert [line.partition(":")[0] for line in mistakes(text)] == ["program-too-large"]
    assert time.process_time() - started < 10


def test_when_by_a_text():
    text = rule(
        'when mode == "sign" { return sign(g) } else { return g }',
        params="mode: str",
        optimizer='mode: str = "sign"',
    )
    assert_weights(agree(text, bowl()), by_hand(bowl(), lambda t, w, g: w - 0.1 * np.sign(g)))
    assert_weights(agree(text, bowl(), mode="no"), by_hand(bowl(), lambda t, w, g: w - 0.1 * g))


def test_whole_numbers_that_are_chosen_for_each_element_are_floats():
    text = rule("return where(g > 0, 1, where(g < 0, -1, 0))")
    assert_weights(agree(text, bowl()), by_hand(bowl(), lambda t, w, g: w - 0.1 * np.sign(g)))


# ---- refusals


def test_an_error_by_tensor_refuses_weights_and_names_them():
    text = rule('when ndim == 4 { error "too deep" } else { return g }')
    program = specimen(text).program
    agree(text, net(), steps=1)
    with pytest.raises(ValueError, match=r"too deep \(<test>:3\): four"):
        program().init(bowl().params)


def test_an_error_in_else_refuses_the_other_tensors():
    text = rule('when ndim >= 1 { return g } else { error "scalars are not for this" }')
    program = specimen(text).program
    agree(text, bowl(), steps=1)
    with pytest.raises(ValueError, match=r"scalars are not for this .*: scale"):
        program().init(net().params)


def test_an_error_by_a_static_parameter_refuses_the_value():
    text = rule(
        'when n > 3 { error "at most 3" } else { return n * g }',
        params="n: int",
        optimizer="n: int = 2",
    )
    case = specimen(text)
    agree(case, steps=1)
    with pytest.raises(ValueError, match=r"at most 3 \(<test>:3\)"):
        case.program(n=4)
    with pytest.raises(ValueError, match="at most 3"):
        interpret(case.graph, steps=1, values={"n": 4})


def test_an_error_that_always_holds_is_a_mistake_of_the_spec():
    assert mistakes(rule('error "never"')) == ["refused: never"]
    three = 'when n > 3 { error "at most 3" } else { return n * g }'
    assert mistakes(rule(three, params="n: int = 5")) == ["refused: at most 3"]


def test_a_default_that_is_refused_is_a_mistake_of_the_spec():
    text = 'when n > 3 { error "at most 3" } else { return n * g }'
    text = rule(text, params="n: int", optimizer="n: int = 4")
    assert mistakes(text) == ["refused: at most 3"]


CHOICES = rule(
    """
    when mode == "deep" {
      when ndim == 2 { error "no matrices" } else { return g }
    } else when mode == "many" or mode == "few" {
      when n < 1 or even { error "odd numbers from 1" }
      return g / n
    } else when mode == "vectors" {
      when ndim == 1 { when n > 9 { error "at most 9" } return g / n } else { return g }
    } else {
      error "an unknown mode"
    }
    """,
    params="mode: str, n: int, even: bool",
    optimizer='mode: str = "few", n: int = 3, even: bool = false',
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, ""),
        ({"n": 0}, r"^odd numbers from 1 \(<test>:14\)$"),
        ({"mode": "many", "even": True}, "^odd numbers from 1"),
        ({"mode": "none"}, "^an unknown mode"),
        ({"mode": "deep", "n": 0, "even": True}, ""),
        ({"mode": "vectors", "n": 10, "even": True}, ""),
    ],
)
def test_values_are_refused_when_they_are_bound_if_their_choices_are_taken(values, message):
    case = specimen(CHOICES)
    if not message:
        case.program(**values)
        return
    with pytest.raises(ValueError, match=message):
        case.program(**values)
    with pytest.raises(ValueError, match=message.split(r" \(")[0]):
        interpret(case.graph, steps=1, values=values)


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"mode": "deep"}, {"matrix": "no matrices"}),
        ({"mode": "vectors", "n": 10}, {"vector": "at most 9"}),
        ({"mode": "vectors"}, {}),
        ({"n": 10}, {}),
    ],
)
def test_tensors_are_refused_by_init_if_their_choices_are_taken(values, refused):
    optimizer = specimen(CHOICES).program(**values)
    for name, shape in {"matrix": (2, 3), "vector": (2,)}.items():
        if name in refused:
            with pytest.raises(ValueError, match=rf"^{refused[name]} \(<test>:14\): {name}$"):
                optimizer.init({name: np.zeros(shape, np.float32)})
        else:
            optimizer.init({name: np.zeros(shape, np.float32)})


def test_a_condition_that_is_too_long_to_work_out_before_is_refused():
    lines = " ".join(f"n{i + 1} = n{i} + n{i}" for i in range(40))
    text = f'n0 = n {lines} when n40 > 3 {{ error "at most 3" }} return g'
    assert mistakes(rule(text, params="n: int", optimizer="n: int = 2"))[0].startswith("program")


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
