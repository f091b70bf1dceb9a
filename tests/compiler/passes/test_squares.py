"""Squares that a norm takes too are spelled otherwise, and no others."""

from collections import Counter

import pytest
from agreement import assert_same, graph_of, interpret
from tried import bowl

from optc.compiler.graph import walk
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.fold import fold
from optc.compiler.passes.squares import squares
from optc.compiler.verify import verify

ROUNDING = 3 * 4 * 2.0**-52
"""Three steps of two roundings on each side."""


def merged(text):
    return verify(dead_code(cse(fold(graph_of(text)))))


def powers(value, observed="norm(g)"):
    """How many squares there are after the pass, which keeps the numbers up to rounding."""
    graph = merged(
        f"rule precondition own(b) {{ state v = zeros(g)  v <- {value}  return g / (v + 1) }}\n"
        f"optimizer one(b = 0.9 in [0, 1)) {{ precondition own(b)  tune step 0.1\n"
        f"observe {observed} as size }}"
    )
    after = verify(squares(graph), lean=True)
    one, other = (interpret(each, bowl(), 3) for each in (graph, after))
    assert_same(other, one, rtol=ROUNDING, atol=ROUNDING)
    assert squares(after) == after
    found = [Counter(n.op for n in walk(each.step) if n.type.is_field) for each in (graph, after)]
    gone = found[0]["pow"] - found[1]["pow"]
    assert sum(found[1].values()) - sum(found[0].values()) == gone * (value.count("g^2") - 1)
    return gone


@pytest.mark.parametrize(
    "value", ["b * v + (1 - b) * g^2", "v + g^2 * b", "b * g^2 - b * v", "b * g^2 + 2 * g^2"]
)
def test_a_square_times_a_scalar_is_made_apart_from_the_norm(value):
    assert powers(value) == 1
    assert powers(value, "dot(g, g)") == 1


@pytest.mark.parametrize("value", ["v + g^2", "b * g^2 + sqrt(g^2)", "b * w^2 + v", "b * g^3 + v"])
def test_a_square_of_another_use_or_of_something_else_stays(value):
    assert powers(value) == 0


def test_a_square_without_a_norm_stays():
    assert powers("b * v + (1 - b) * g^2", "norm(u)") == 0
