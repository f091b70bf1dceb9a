"""Functions as values: what they speak of, that they are the text in their place, that they end."""

import pytest
from agreement import agree, graph_of, interpret, mistakes

from optc.compiler.check import check
from optc.compiler.graph import walk
from optc.compiler.locate import Located
from optc.grammar.source import Source


def spec(value, before="", rules="", parameters=""):
    return (
        f"{rules}\nrule precondition own({parameters}) {{ {before}  return {value} }}\n"
        "optimizer one() { precondition own()  tune step 0.1 }"
    )


def nodes(text):
    """What a spec is made of, but for ids and names."""
    graph = graph_of(text)
    known = {}
    for place, node in enumerate(walk(graph.step)):
        inputs = tuple(known[i] for i in node.inputs)
        known[node.id] = place
        yield node.op, inputs, node.attributes, node.type


TWICE = "func twice(op, x) { return op(op(x)) }"
HALF = "func half(x) { return x / 2 }"


@pytest.mark.parametrize(
    ("value", "inlined"),
    [
        ("twice(x => x / 2, g)", "g / 2 / 2"),
        ("twice(half, g)", "g / 2 / 2"),
        ("twice(sqrt, abs(g))", "sqrt(sqrt(abs(g)))"),
        ("twice(hvp, g)", "hvp(hvp(g))"),
        ("twice(x => ggn(x, at = w + g), g)", "ggn(ggn(g, at = w + g), at = w + g)"),
        ("twice(x => twice(y => y + x, x), g)", "g + g + g + (g + g + g) + (g + g + g)"),
        ("again(half, g)", "g / 2 / 2"),
        ("twice(x => again(half, x), g)", "g / 2 / 2 / 2 / 2"),
        ("changed(half, g)", "g / 2 + norm(g / 2 / 2) * g"),
    ],
)
def test_a_call_is_the_text_of_the_function_in_its_place(value, inlined):
    again = "func again(op, x) { return twice(op, x) }"
    changed = "func changed(op, x) { y = op(x)  return y + norm(op(y)) * x }"
    rules = "\n".join((TWICE, HALF, again, changed))
    ours, theirs = (interpret(graph_of(spec(v, rules=rules)), steps=2) for v in (value, inlined))
    for one, other in zip(ours.moments, theirs.moments, strict=True):
        for x, y in zip(one.weights, other.weights, strict=True):
            assert abs(x - y).max() <= 1e-14 * abs(y).max()


def test_a_default_speaks_of_the_parameters_before_it():
    scaled = spec("op(g)", parameters="scale = 3.0, op: func = d => scale * d")
    assert list(nodes(scaled))[-1] == list(nodes(spec("3.0 * g")))[-1]


def test_names_are_those_of_the_place_where_a_function_was_written():
    shadowed = "func shadowed(op, x) { scale = 100  return op(x) + scale * 0 }"
    given = spec("shadowed(x => scale * x, g)", "scale = 3", shadowed)
    assert list(nodes(given))[-1] == list(nodes(spec("3 * g + 0 * 100")))[-1]
    trace, plain = interpret(graph_of(given)), interpret(graph_of(spec("3 * g")))
    for one, other in zip(trace.moments[-1].weights, plain.moments[-1].weights, strict=True):
        assert (one == other).all()


def test_a_var_has_the_value_that_it_has_when_the_function_is_called():
    before = "var s = 1  repeat 3 { s <- 2 * s }"
    trace = interpret(graph_of(spec("twice(x => s * x, g)", before, TWICE)), steps=1)
    plain = interpret(graph_of(spec("8 * (8 * g)")), steps=1)
    for one, other in zip(trace.moments[0].weights, plain.moments[0].weights, strict=True):
        assert (one == other).all()


def test_a_rule_takes_a_function_from_a_stage_and_has_one_by_default():
    text = f"""
    {HALF}
    rule precondition own(shape: func = half, size: func = norm) {{ return shape(g) * size(g) }}
    optimizer one(a = 0.5) {{
      precondition own()
      precondition own(x => a * tanh(x))
      precondition own(shape = tanh, size = mean)
      tune step    0.1
    }}
    """
    agree(text, steps=2)


def test_a_rule_hands_its_function_to_a_rule_and_to_a_function():
    text = f"""
    {TWICE}
    rule precondition inner(op: func) {{ return twice(op, g) }}
    rule precondition own(op: func = tanh) {{ return inner(g, op) + inner(g, x => op(x) / 2) }}
    optimizer one() {{ precondition own(sin)  tune step 0.1 }}
    """
    agree(text, steps=2)


def test_a_function_in_a_loop_in_a_choice_and_in_a_function_of_an_example():
    body = """
      var x = g
      repeat 3 { x <- twice(y => y / 2 + 0.1 * g, x) }
      if norm(g) > 0.1 { x <- twice(hvp, x) } else { x <- twice(tanh, x) }
      when ndim >= 2 { x <- twice(y => y / max(norm(y, per = row), 0.1), x) }
    """
    agree(spec("x + per_example_mean(e => twice(tanh, e) * norm(e))", body, TWICE), steps=2)


@pytest.mark.parametrize(
    "rules",
    [
        "func f(x) { return twice(f, x) }",
        "func f(x) { return twice(y => f(y), x) }",
        "func f(x) { return h(f, x) } func h(op, x) { return twice(op, x) }",
        "func f(x) { return h(y => y, x) } func h(op, x) { return twice(y => f(op(y)), x) }",
    ],
)
def test_a_function_that_calls_itself_through_another_is_refused(rules):
    found = mistakes(spec("f(g)", rules=f"{TWICE}\n{rules}"))
    assert {m.partition(":")[0] for m in found} == {"recursive-rule"}


@pytest.mark.parametrize("inner", ["twice(f{0}, x)", "f{0}(f{0}(x))"])
def test_calls_that_multiply_are_refused_soon(inner):
    chain = "\n".join(f"func f{n + 1}(x) {{ return {inner.format(n)} }}" for n in range(60))
    found = mistakes(spec("f60(g)", rules=f"{TWICE}\nfunc f0(x) {{ return 2 * x }}\n{chain}"))
    assert [m.partition(":")[0] for m in found] == ["program-too-large"]


def test_a_rule_that_is_checked_by_itself_may_begin_a_state_with_its_function():
    assert mistakes("rule clip own(f: func) { state s = f(w)  s <- f(s)  return s }") == []


def test_the_same_function_inside_its_own_argument_is_no_recursion():
    assert mistakes(spec("cg(d => cg(e => hvp(e) + e, d, 2), g, 2)")) == []
    rules = f"{TWICE}\nfunc f(x) {{ return twice(hvp, x) }}"
    assert mistakes(spec("twice(x => twice(f, x), g)", rules=rules)) == []


def test_a_mistake_in_a_function_of_the_library_shows_the_call():
    located = Located(Source("<test>", spec("cg(d => norm(d), g, 3)")))
    (found,) = check(located)
    assert found.code == "type-mismatch"
    assert found.span.source.name == "func/cg.opt"
    assert [label.span.text for label in found.others] == ["cg(d => norm(d), g, 3)"]


def test_a_state_that_begins_with_a_function_value_waits_for_the_first_step():
    body = "state m = twice(hvp, w)  m <- m / 2"
    trace = agree(spec("m + g", body, TWICE), steps=2)
    assert [counts.get("hvp", 0) for counts in trace.counts] == [2, 0]


@pytest.mark.parametrize(
    "value",
    [
        "sharpness(2) * w",
        "noisy(w)",
        "twice(x => x + g, w)",
        "kept(w) + adam(w) + timed(1) * w",
    ],
)
def test_a_state_that_begins_with_what_a_function_asks_waits_for_the_first_step(value):
    noisy = "func noisy(x) { return x + 0.1 * normal(w) }"
    kept = "func kept(x) { state own = x  own <- own + w  return own }"
    timed = "schedule timed(rate) = rate * t"
    rules = f"{TWICE}\n{noisy}\n{kept}\n{timed}"
    agree(spec("m + g", f"state m = {value}  m <- m / 2", rules), steps=2)
