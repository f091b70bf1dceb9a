"""Iterations by polynomials of a Gram matrix are found however they are written."""

import re

import pytest
from agreement import agree, assert_same, graph_of, interpret, specimen
from hypothesis import given, settings
from hypothesis import strategies as st
from tried import bowl

from optc.compiler.graph import rounds, walk
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.fold import fold
from optc.compiler.passes.gram import MOST_ROUNDS, gram
from optc.compiler.verify import verify

ROUNDING = 1e-12
"""A few dozen products of matrices whose norms are about 1."""


def source(lines, parameters="", functions=""):
    """A direction that is made by these lines of `y`, a matrix whose norm is 1."""
    body = "\n".join(f"      {line}" for line in lines.strip().split("\n"))
    names = ", ".join(re.findall(r"(\w+)[ :]* ?(?:int )?=", parameters))
    return f"""{functions}
rule precondition own({parameters}) {{
  when g is [.., rows, cols] {{
      var y = g / norm(g, per = matrix)
{body}
      return y
  }} else {{
    return g
  }}
}}
optimizer one(lr = 0.1{", " + parameters if parameters else ""}) {{
  precondition own({names})
  tune step lr
}}
"""


def merged(text):
    return verify(dead_code(cse(fold(graph_of(text)))))


def found(graph):
    """The rounds of each `gram_loop`: how many, and which coefficients; None for no literal."""
    nodes = {node.id: node for node in walk(graph.step)}

    def value(id):
        return nodes[id].get("value") if nodes[id].op == "const" else nodes[id].get("name")

    return [
        [(value(times), tuple(map(value, coefficients))) for times, coefficients in rounds(node)]
        for node in nodes.values()
        if node.op == "gram_loop"
    ]


def products(graph):
    return sum(node.op == "matmul" for node in walk(graph.step))


def recognised(text, steps=2):
    """The rounds that the pass finds; what is computed stays the same."""
    graph = merged(text)
    after = verify(dead_code(verify(gram(graph))))
    assert verify(dead_code(gram(after))) == after
    one, other = (interpret(g, bowl(), steps) for g in (graph, after))
    assert_same(other, one, rtol=ROUNDING, atol=ROUNDING)
    return found(after)


QUINTIC = (3.4445, -4.775, 2.0315)

SAME = {
    "as in Newton-Schulz": """
a = y @ y.T
y <- 3.4445 * y + (-4.7750 * a + 2.0315 * a @ a) @ y""",
    "by columns": """
a = y.T @ y
y <- 3.4445 * y + y @ (2.0315 * a @ a - 4.7750 * a)""",
    "by Horner's rule": """
a = y @ y.T
y <- (3.4445 * eye(rows) + a @ (2.0315 * a - 4.7750 * eye(rows))) @ y""",
    "term by term": """
c = y @ y.T @ y
y <- 3.4445 * y - 4.775 * c + 2.0315 * y @ y.T @ c""",
    "transposed": """
z = y.T
a = z @ y
y <- ((3.4445 * eye(cols) - 4.775 * a + 2.0315 * a.T @ a) @ z).T""",
    "in parts": """
a = y @ y.T
b = a * 2.0315 - 4.775 * eye(rows)
y <- y * 3.4445 + a @ b @ y""",
}


@pytest.mark.parametrize("name", SAME)
def test_a_round_is_found_however_it_is_written(name):
    loop = "repeat 3 {" + SAME[name] + "\n}"
    (((times, coefficients),),) = recognised(source(loop))
    assert times == 3
    assert coefficients == pytest.approx(QUINTIC)


def test_lines_that_follow_each_other_are_rounds_of_their_own():
    step = "func step(y, a, b, c) { r = y @ y.T  return a * y + (b * r + c * r @ r) @ y }"
    lines = """
y <- step(y, 2, -1.5, 0.5)
y <- step(y, 3, -3, 1)
repeat 4 { y <- step(y, 1.5, -0.5, 0) }
y <- 1.5 * y - 0.5 * y @ y.T @ y"""
    assert recognised(source(lines, functions=step)) == [
        [(1, (2.0, -1.5, 0.5)), (1, (3.0, -3.0, 1.0)), (4, (1.5, -0.5, 0.0)), (1, (1.5, -0.5))]
    ]


def test_rounds_may_have_parameters_for_their_number_and_coefficients():
    lines = "repeat n { y <- a * y - y @ y.T @ y / b }"
    (((times, (first, second)),),) = recognised(source(lines, "n: int = 3, a = 1.5, b = 2.0"))
    assert (times, first) == ("n", "a")
    assert second is None


def test_a_loop_may_change_scalars_beside_the_matrix():
    lines = """
var k = 0.0
repeat 3 {
  r = y @ y.T
  y <- where(k < 1, 2, 1.5) * y - 0.5 * r @ y
  k <- k + 1
}
y <- k * y"""
    assert recognised(source(lines)) == [[(1, (2.0, -0.5)), (2, (1.5, -0.5))]]


TABLED = """
var k = 1
repeat n {
  c = interpolate(k, 1, 2.0, 2, 1.5)
  y <- where(k < 3, c, 1.25) * y - 0.5 * y @ y.T @ y
  k <- k + 1
}"""


def test_a_parameter_with_a_bound_says_how_many_of_the_rounds_are_done():
    rounds = [(1, (2.0, -0.5)), (1, (1.5, -0.5)), (6, (1.25, -0.5))]
    assert recognised(source(TABLED, "n: int = 3 in [0, 8]")) == [rounds]
    graph = merged(source(TABLED, "n: int = 3 in [0, inf)"))
    assert dead_code(gram(graph)) == graph
    outside = TABLED + "\ny <- k * y"
    graph = merged(source(outside, "n: int = 3 in [0, 8]"))
    assert dead_code(gram(graph)) == graph


def test_coefficients_may_stand_in_a_table():
    lines = """
var k = 1
repeat 3 {
  r = y @ y.T
  y <- interpolate(k, 1, 3.0, 2, 1.5) * y - interpolate(k, 0, 0.25, 2, 0.75) * r @ y
  k <- k + 1
}"""
    assert recognised(source(lines)) == [[(1, (3.0, -0.5)), (2, (1.5, -0.75))]]


def test_a_loop_may_have_several_lines_and_several_matrices():
    lines = """
var z = 0.5 * y
repeat 2 {
  y <- 1.5 * y - 0.5 * y @ y.T @ y
  y <- 2 * y - y @ y.T @ y
  z <- 1.25 * z - 0.25 * z @ z.T @ z
}
y <- y + z"""
    one, other = recognised(source(lines))
    assert one == [(1, (1.5, -0.5)), (1, (2.0, -1.0))] * 2
    assert other == [(2, (1.25, -0.25))]


STAYS = {
    "a single round": "y <- 1.5 * y - 0.5 * y @ y.T @ y",
    "with a condition": "var k = 1\n"
    "repeat 3 while k < 3 { y <- 1.5 * y - y @ y.T @ y  k <- k + 1 }",
    "of another matrix": "repeat 3 { y <- 1.5 * y - 0.5 * y @ y.T @ g }",
    "with a matrix that is no polynomial": "repeat 3 { a = y @ y.T  y <- y - 0.1 * triu(a) @ y }",
    "elementwise": "repeat 3 { y <- 1.5 * y - 0.5 * y * y * y }",
    "with the number in the whole": "repeat 3 { y <- 1.5 * y - 0.5 * y @ y.T @ y / norm(y) }",
    "a constant that is added": "repeat 3 { y <- 1.5 * y - 0.5 * y @ y.T @ y + 0.1 * g }",
    "what is seen from outside": """
var s = 0.0
repeat 3 { y <- 1.5 * y - 0.5 * y @ y.T @ y  s <- s + norm(y) }
y <- y + s""",
    "linear": "repeat 3 { y <- 1.5 * y }",
    "of too high a degree": "repeat 3 { a = y @ y.T  b = a @ a @ a @ a  c = b @ b @ b @ b @ a\n"
    "y <- y + 0.1 * c @ y }",
    "with more rounds than are written out": "var k = 1.0\n"
    f"repeat {MOST_ROUNDS + 1} {{ y <- 1.5 * y - k * 0.5 * y @ y.T @ y  k <- 0.5 + k / 2 }}",
}


@pytest.mark.parametrize("name", STAYS)
def test_what_is_no_such_iteration_stays(name):
    graph = merged(source(STAYS[name]))
    assert dead_code(gram(graph)) == graph


def test_what_is_used_elsewhere_too_is_not_computed_twice():
    lines = """
y <- 1.5 * y - 0.5 * y @ y.T @ y
z = 2 * y - y @ y.T @ y
a = z @ z.T
y <- y + 1.5 * z - 0.5 * a @ z + trace(a) * z"""
    graph = merged(source(lines))
    assert products(dead_code(gram(graph))) == products(graph)


@st.composite
def iterations(draw):
    """Lines that are rounds, of polynomials with random coefficients in random forms."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        a, b, c = (draw(st.integers(-4, 8)) / 4 for _ in range(3))
        text = draw(st.sampled_from(sorted(SAME.values()))).strip()
        numbers = (("3.4445", a), ("4.7750", b), ("4.775", b), ("2.0315", c))
        for number, other in numbers:
            text = text.replace(number, f"({other})")
        text = re.sub(r"\b([abcz])\b", rf"\g<1>{len(lines)}", text)
        times = draw(st.integers(0, 2))
        lines.append(f"repeat {times} {{\n{text}\n}}" if times else text)
        if draw(st.booleans()):
            lines.append("y <- y / (1 + norm(y, per = matrix))")
    return source("\n".join(lines))


@given(iterations())
@settings(max_examples=30, deadline=None)
def test_the_pass_changes_nothing_that_is_computed(text):
    recognised(text, steps=1)


def test_a_printed_loop_agrees_with_the_interpreter():
    step = "func step(y, a, b, c) { r = y @ y.T  return a * y + (b * r + c * r @ r) @ y }"
    lines = """
y <- step(y, 2, -1.5, 0.5)
repeat m { y <- step(y, a, -3, 1) }
y <- step(y, 1, 2, 3)"""
    text = source(lines + TABLED, "m: int = 2, a = 2.5, n: int = 2 in [0, 3]", step)
    case = specimen(text)
    agree(case, bowl(), steps=1)
    assert (
        "rt.gram_loop(y, [(2.0, -1.5, 0.5)], [(a, -3.0, 1.0)] * m, [(1.0, 2.0, 3.0)])" in case.text
    )
