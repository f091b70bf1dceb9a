"""Intervals hold every number of every step: whole optimizers are run and looked into."""

import math

import numpy as np
import pytest
from linted import OPTIMIZERS, followed, numbers, subject

from optc.compiler.lints.dominant import Bounds
from optc.compiler.lints.interval import ALL, Interval, Intervals


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_value_of_a_run_lies_in_its_interval(name):
    intervals, bounds = subject(name).intervals, Bounds(subject(name))
    for t, values in enumerate(followed(name), 1):
        first = Intervals(subject(name).draft, count=Interval(1.0, 1.0)) if t == 1 else intervals
        for id, value in values.items():
            found = numbers(value)
            if found is None:
                continue
            size = bounds.of(id)
            bounded = Interval(-math.inf, math.inf) if size is None else Interval(-size, size)
            for low, high in {intervals[id], first[id], bounded}:
                # The bounds are rounded as the numbers are: a few units in the last place.
                slack = 1e-12 * (1 + np.abs(found))
                outside = (found < low - slack) | (found > high + slack)
                assert not outside.any(), (subject(name).nodes[id], low, high, found[outside])


def interval(text):
    """The interval of what a spec returns as its direction."""
    lines = (
        f"rule precondition own() {{ {text} }} optimizer one() {{ precondition own() tune step 1 }}"
    )
    one = subject(lines)
    return tuple(one.intervals[one.draft.passages[0].after])


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("return sign(g)", -1, 1),
        ("return g^2", 0, math.inf),
        ("return 2 + tanh(g)", 1, 3),
        ("return g * 0 + 0.5^t", 0, 0.5),
        ("return clamp(g, -3, 5)", -3, 5),
        ("return where(t >= 1, zeros(g), g)", 0, 0),
        ("return zeros(g) + 1 / (1 + norm(g))", 0, 1),
        # An average of signs stays between them, by way of the marks -1 and 1.
        ("state m = zeros(g) m <- 0.9 * m + 0.1 * sign(g) return m", -1, 1),
        # A sum of squares is never negative, and has no bound above.
        ("state v = zeros(g) v <- v + g^2 return v", 0, math.inf),
        ("var x = zeros(g) repeat 5 { x <- (x + sign(g)) / 2 } return x", -1, 1),
        ("return g - g", 0, 0),
        ("return g / w", *ALL),
    ],
)
def test_what_is_known_of_a_value(text, low, high):
    assert interval(text) == (low, high)


@pytest.mark.parametrize(
    ("stages", "size"),
    [
        ("clip global_norm(0.1)", 0.1),
        ("clip global_norm(0.1) precondition average_gradient(0.9)", 0.1),
        ("clip value(0.1) precondition momentum(0.9)", 1.0),
        ("clip value(0.1) precondition scaled(-3)", 0.3),
        ("precondition sign() precondition scaled(3)", 3.0),
        ("clip value(0.1) decay weights(0.1)", None),
        ("precondition momentum(0.9)", None),
    ],
)
def test_a_clip_bounds_what_comes_after(stages, size):
    text = f"optimizer one() {{ {stages} tune step 1 }}"
    one = subject(text)
    (step,) = one.ends
    assert Bounds(one).of(step) == (None if size is None else pytest.approx(size, rel=1e-12))
    for values in followed(text, steps=30, scale=3.0):
        assert size is None or np.abs(numbers(values[step])).max() <= size * (1 + 1e-12)
