"""Curvature along a direction is recognised, and nothing else is taken for it."""

from collections import Counter

import pytest
from agreement import assert_same, execute, graph_of, interpret, specimen
from specimens import SPECIMENS

from optc.compiler.graph import walk
from optc.compiler.passes.cse import cse
from optc.compiler.passes.curvature import SCALARS, curvature
from optc.compiler.verify import verify


def recognised(body):
    graph = graph_of(
        f"rule precondition own() {{ {body} }}\n"
        "optimizer one() { precondition own()  tune step 0.1 }"
    )
    return Counter(node.op for node in walk(verify(curvature(cse(graph))).step))


def test_the_meaning_stays_up_to_rounding(specimen_name):
    graph = cse(graph_of(SPECIMENS[specimen_name]))
    again = verify(curvature(graph))
    # The same sums in another order: a few times 2^-52, relative.
    assert_same(interpret(again, steps=3), interpret(graph, steps=3), rtol=1e-12)


@pytest.mark.parametrize("times", ["hvp", "ggn"])
@pytest.mark.parametrize("product", ["dot(u, {}(u))", "dot({}(u), u)"])
def test_a_product_that_only_a_dot_reads_is_a_curvature(times, product):
    product = product.format(times)
    ops = recognised(f"u = g + w  return g * {product}")
    assert (ops[SCALARS[times]], ops["dot"]) == (1, 0)
    ops = recognised(f"u = g + w  v = {product}  return g * dot(u, {times}(u)) + v * w")
    assert (ops[SCALARS[times]], ops["dot"]) == (1, 0)


@pytest.mark.parametrize(
    "body",
    [
        "h = hvp(g)  return h * dot(g, h)",
        "return g * dot(w, hvp(g))",
        "return g * dot(g, hvp(g), per = tensor)",
        "state h = zeros(g)  h <- hvp(g)  return g * dot(g, h)",
        "var v = g  repeat 2 { p = hvp(v)  v <- p * dot(v, p) }  return v",
    ],
)
def test_a_product_with_another_use_stays(body):
    ops = recognised(body)
    assert (ops["curvature"], ops["hvp"]) == (0, 1)


def test_a_curvature_in_a_branch_and_in_a_loop():
    text = """
    rule precondition own() {
      var a = 0
      var v = g
      every 2 { a <- dot(g, hvp(g)) }
      repeat 2 { a <- a + dot(v, hvp(v)) - dot(v, ggn(v))  v <- 0.5 * v }
      return a * g
    }
    optimizer one() { precondition own()  tune step 0.1 }
    """
    case = specimen(text)
    ops = Counter(node.op for node in walk(case.graph.step))
    found = [ops[name] for name in ("curvature", "ggn_curvature", "hvp", "ggn")]
    assert found == [2, 1, 0, 0]
    assert_same(execute(case.program, steps=3), interpret(case.plain, steps=3))
