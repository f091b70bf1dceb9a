"""Degrees are what they say: with gradients `s` times as large, values are `s^d` times as large."""

import numpy as np
import pytest
from linted import OF_EXAMPLES, OPTIMIZERS, followed, numbers, subject

from optc.compiler.lints.degree import FIXED, SMALL, Degrees
from optc.compiler.lints.subject import walk

SCALE = 4.0


def degrees_of_gradients(one):
    """The degrees of all values in the scale of all that the objective answers with gradients."""
    answers = ("grad", "per_example_grad", "outputs_grad", "pullback")
    asked = {node.id for node in one.nodes.values() if node.op in answers}
    return Degrees(one.draft, one.intervals, seeds=asked)


def of_other_rounds(one, *runs):
    """The values in loops that `while` ended at another round in each run."""
    loops = [node.regions for node in one.nodes.values() if node.op == "loop"]
    ended = [x for x in loops if len({run.get(x[0].arguments[0]) for run in runs}) > 1]
    return {node.id for regions in ended for region in regions for node in walk(region)}


@pytest.mark.parametrize("name", sorted({*OPTIMIZERS} - OF_EXAMPLES))
def test_homogeneous_values_grow_with_their_degree(name):
    one = subject(name)
    degrees = degrees_of_gradients(one)
    # The weights must not follow, or the second step would be another: one step is looked at.
    (small,), (large,) = followed(name, 1), followed(name, 1, SCALE)
    for id in small.keys() - of_other_rounds(one, small, large):
        degree = degrees[id].exact
        before, after = numbers(small[id]), numbers(large.get(id))
        if degree is None or before is None or after is None or one.nodes[id].op == "point":
            continue
        # An eps is left out of account: it is at most `SMALL`, or its root where it stands in one.
        np.testing.assert_allclose(
            after, before * SCALE**degree, rtol=0.05, atol=SMALL**0.5, err_msg=str(one.nodes[id])
        )


def degree(text, **how):
    """The degree of what a spec returns as its direction, in the scale of the gradient."""
    lines = (
        f"rule precondition own() {{ {text} }} optimizer one() {{ precondition own() tune step 1 }}"
    )
    one = subject(lines)
    passage = one.draft.passages[0]
    degrees = Degrees(one.draft, one.intervals, seeds={passage.before}, **how)
    return degrees[passage.after]


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("return g", 1),
        ("return g^2 * sign(g)", 2),
        ("return sqrt(abs(g))", 0.5),
        ("return g / norm(g)", 0),
        ("return g / (norm(g) + 1e-8)", 0),
        ("return g / (norm(g) + 1e-2)", None),
        ("return g + w", None),
        ("return w", 0),
        ("return where(norm(g) > 0, g, 0)", 1),
        ("return where(norm(g) > 1, g, 0)", None),
        ("return min(1, 1 / norm(g)) * g", None),
        ("return exp(g)", None),
        ("state m = zeros(g) m <- 0.9 * m + g return m", 1),
        ("state m = ones(g) m <- 0.9 * m + g return m", None),
        ("state m = zeros(g) m <- m * g + g return m", None),
        ("var x = g repeat 3 { x <- x / (norm(x) + 1e-8) } return x", None),
        ("var x = g repeat 3 { x <- 2 * x } return x", 1),
        ("every 2 { } return g", 1),
    ],
)
def test_what_is_known_of_a_value(text, exact):
    assert degree(text).exact == exact


def test_what_a_state_keeps_of_a_factor_that_changes_has_no_degree():
    momentum = "state m = zeros(g) m <- 0.9 * m + g return sign(m)"
    assert degree(momentum) == FIXED
    assert degree(momentum, memory=False).exact is None
    assert degree("return sign(g)", memory=False) == FIXED
