"""Values of hyperparameters: drawn inside their ranges, shared by two sides, and substituted."""

import numpy as np
import pytest
from agreement import graph_of
from part import optimizers

from optc.compiler.locate import find
from optc.compiler.meaning.side import admits, drawn, shared
from optc.compiler.meaning.substitute import substituted
from optc.compiler.meaning.tapes import tape
from optc.compiler.meaning.trajectory import follow
from optc.compiler.records import Hyperparameter, Term
from optc.compiler.verify import verify


@pytest.mark.parametrize("name", optimizers())
def test_drawn_values_lie_in_the_ranges_of_every_optimizer(name):
    parameters = graph_of(find(name)).hyperparameters
    for seed in range(20):
        values = drawn(parameters, seed)
        assert all(admits(h, values[h.name]) for h in parameters if h.name in values)


def test_a_value_does_not_depend_on_the_other_parameters():
    one, two = Hyperparameter("one", 0.5, 0.0, 1.0), Hyperparameter("two", 0.5, 0.0, 1.0)
    assert drawn([one], 3)["one"] == drawn([two, one], 3)["one"]
    assert drawn([one], 3) != drawn([one], 4)


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (Hyperparameter("x", 0.5, 0.0, 1.0, high_open=True), [0, 0.5], [1.0, -0.1, "a", True]),
        (Hyperparameter("x", 0.5, 0.0, None, low_open=True), [1e-9, 1e9], [0, float("inf")]),
        (Hyperparameter("x", 2, 1.0, None, kind="int"), [1, 7], [0, 1.5]),
        (Hyperparameter("x", True, kind="bool"), [True, False], [1, "true"]),
        (Hyperparameter("x", "a", kind="str"), ["b"], [1]),
    ],
)
def test_a_range_admits_what_lies_in_it(parameter, inside, outside):
    assert all(admits(parameter, value) for value in inside)
    assert not any(admits(parameter, value) for value in outside)


def test_two_share_the_narrower_range():
    one = Hyperparameter("x", 0.5, 0.0, 1.0, high_open=True)
    other = Hyperparameter("x", 0.7, 0.0, 1.0, low_open=True)
    both = shared(one, other)
    assert (both.low, both.high, both.low_open, both.high_open) == (0.0, 1.0, True, True)
    assert both.default == 0.5
    assert shared(one, Hyperparameter("x", 3.0, 2.0)) is None
    assert shared(one, Hyperparameter("x", 1, kind="int")) is None


SPEC = """
optimizer several(lr = 0.1 in [0, inf), beta = 0.9 in [0, 1)) {
  precondition momentum(beta)
  tune step    lr
}
"""


@pytest.mark.parametrize(
    ("terms", "values"),
    [
        ({"lr": Term("literal", (1,))}, {"lr": 1.0}),
        ({"beta": Term("parameter", ("lr",))}, {"beta": 0.25, "lr": 0.25}),
        (
            {
                "lr": Term(
                    "mul",
                    (
                        Term("parameter", ("a",)),
                        Term("sub", (Term("literal", (1,)), Term("parameter", ("beta",)))),
                    ),
                )
            },
            {"lr": 0.5 * (1 - 0.75), "beta": 0.75},
        ),
    ],
)
def test_a_term_in_place_of_a_parameter_is_its_value(terms, values):
    graph = graph_of(SPEC)
    changed = substituted(graph, terms)
    known = {h.name for h in graph.hyperparameters}
    more = (Hyperparameter("a", 0.5),) if "a" not in known else ()
    changed = changed.model_copy(update={"hyperparameters": (*graph.hyperparameters, *more)})
    verify(changed)
    taped = tape(0, "tiny", 3)
    found, expected = follow(changed, taped, values), follow(graph, taped, values)
    for one, other in zip(found.moments, expected.moments, strict=True):
        for x, y in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(x, y)
