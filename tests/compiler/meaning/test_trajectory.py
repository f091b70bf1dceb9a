"""Following programs on tapes: closed forms of a few steps, and what is refused."""

import numpy as np
import pytest
from agreement import graph_of

from optc.compiler.meaning.tapes import tape
from optc.compiler.meaning.trajectory import UnfitError, follow

PLAIN = "optimizer plain(lr = 0.25, half = lr / 2) { tune step half }"


def test_a_trajectory_is_that_of_the_formula():
    taped = tape(0)
    weights = list(taped.weights)
    for number, moment in enumerate(follow(graph_of(PLAIN), taped).moments):
        grad = taped.batches[number].grad(weights)
        weights = [w - 0.125 * g for w, g in zip(weights, grad, strict=True)]
        for found, expected in zip(moment.weights, weights, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_default_that_follows_another_does_so():
    graph, taped = graph_of(PLAIN), tape(0, steps=2)
    one = follow(graph, taped, {"lr": 0.5}).moments[-1]
    other = follow(graph, taped, {"half": 0.25}).moments[-1]
    np.testing.assert_array_equal(one.weights[0], other.weights[0])


def test_a_state_of_whole_numbers_is_rounded():
    text = """
optimizer counted() {
  precondition whole()
  tune step 1.0
}
rule precondition whole() {
  state kept: i8 = zeros(g)
  kept <- 0.6 * ones(g)
  return kept
}
"""
    trajectory = follow(graph_of(text), tape(0, steps=1))
    assert [np.unique(x) for x in trajectory.moments[0].slots[0]] == [1.0] * 5


def test_values_are_kept_when_they_are_asked_for():
    graph = graph_of(PLAIN)
    (moment,) = follow(graph, tape(0, steps=1), keep=True).moments
    assert set(moment.values) == {node.id for node in graph.step.nodes}
    assert follow(graph, tape(0, steps=1)).moments[0].values == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optimizer bare(lr) { tune step lr }", "`lr` has no default; give it a value"),
        (
            'optimizer only() { group one where path matches "head" { tune step 1.0 } }',
            "`embed/kernel` falls into no group",
        ),
    ],
)
def test_what_cannot_run_is_refused(text, words):
    with pytest.raises(UnfitError, match=words):
        follow(graph_of(text), tape(0, steps=1))
