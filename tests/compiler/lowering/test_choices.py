"""Choices before the step: by tensor, by parameter, and what is refused; held against NumPy."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree, assert_weights, by_hand, gradient, interpret, mistakes, specimen
from bodies import matrix, rule
from tried import bowl, net

import optc

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
