"""Scalar factors leave fields: fewer operations for each element, and the same numbers."""

import pytest
from agreement import assert_same, graph_of, interpret
from part import optimizers
from specimens import SPECIMENS
from tried import bowl

from optc.compiler.graph import walk
from optc.compiler.locate import find
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.factor import factor
from optc.compiler.passes.fold import fold
from optc.compiler.verify import verify

ROUNDING = 3 * 16 * 2.0**-52
"""Three steps of 16 ulps."""

LOOSER = {
    # Its scale is found from the moves of the weights, which at first are 1e-8 of the weights.
    "mechanic_adamw": 1e8 * ROUNDING,
}
"""Where a spec itself amplifies what it is given."""


def merged(source):
    return verify(dead_code(cse(fold(graph_of(source)))))


def factored(value, parameters="a = 2.0 in (0, 4), b = 3.0, c = 0.5 in [0, 1)"):
    """A direction as a graph, before and after."""
    graph = merged(
        f"rule precondition own(a, b, c) {{\n  state s = zeros(g)\n  s <- s + g^2\n"
        f"  return {value}\n}}\n"
        f"optimizer one({parameters}) {{ precondition own(a, b, c)  tune step b }}"
    )
    return graph, verify(dead_code(factor(graph)))


def work(graph):
    """How many operations are done for each element."""
    return sum(n.type.is_field and n.op != "state" for n in walk(graph.step))


def test_factoring_keeps_the_numbers(specimen_name):
    graph = merged(SPECIMENS[specimen_name])
    after = verify(factor(graph))
    assert work(dead_code(after)) <= work(graph)
    assert_same(interpret(after, steps=3), interpret(graph, steps=3), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", optimizers())
def test_factoring_keeps_what_a_shipped_optimizer_does(name):
    graph, bound = merged(find(name)), LOOSER.get(name, ROUNDING)
    after = verify(factor(graph))
    assert work(dead_code(after)) <= work(graph)
    assert_same(interpret(after, steps=3), interpret(graph, steps=3), rtol=bound, atol=bound)


def test_factoring_twice_changes_nothing(specimen_name):
    once = dead_code(factor(merged(SPECIMENS[specimen_name])))
    assert dead_code(factor(once)) == once


@pytest.mark.parametrize(
    ("value", "fewer"),
    [
        ("a * g / b", 2),  # with the rate: one product of b, a and 1 / b
        ("a * (g + c * w)", 1),
        ("g / (sqrt(s / a) + c)", 1),
        ("g / (sqrt(s / (1 - c^t)) + a)", 1),
        ("abs(g / a)", 1),  # a is positive
        ("abs(c * g)", 0),  # c may be zero
        ("-(c * g)", 1),
        ("a * (g / a)", 2),  # not g: the one is not 1 over the other where a is 0
        ("g + w", 0),
        ("a * (c * w - g)", 1),  # a * b, which does not cross the difference: that may cancel
        ("g + c * w", 0),  # as many products either way, so it stays as it was written
        ("g / (sqrt(s / b) + c)", 0),  # b may be negative
        ("g / (sqrt(s * c) + a)", 0),  # c may be zero
    ],
)
def test_operations_on_fields_become_operations_on_scalars(value, fewer):
    graph, after = factored(value)
    assert work(graph) - work(after) == fewer
    found, expected = interpret(after, bowl(), 2), interpret(graph, bowl(), 2)
    assert_same(found, expected, rtol=ROUNDING, atol=ROUNDING)


def test_what_a_state_keeps_is_made_as_it_was_written():
    graph, after = factored("a * s / c")
    assert after.step.results[1:] == graph.step.results[1:]


def test_a_long_sum_is_no_deep_recursion():
    lines = "".join(f"x{n + 1} = x{n} * b + g\n" for n in range(600))
    text = f"rule precondition own(b = 2) {{ x0 = g {lines} return x600 }}"
    graph = merged(f"{text} optimizer one() {{ precondition own()  tune step 0.1 }}")
    verify(dead_code(factor(graph)))
