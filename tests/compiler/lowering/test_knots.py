"""`interpolate`: a table means what NumPy's `interp` means by it, for numbers and for fields."""

import numpy as np
from agreement import agree, assert_weights, by_hand
from tried import bowl

import optc
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.format import format
from optc.grammar.parse import parse
from optc.grammar.source import Source

SPEC = """
schedule table(peak) = peak * interpolate(t, 1, 0.5, 3, 1 / 4, 3.5, -1)
rule precondition bent() { return interpolate(g, -1, -2, 0, 0, 0.5, 3) }
optimizer one(lr = 0.1) { precondition bent()  tune step table(lr) }
"""


def test_a_table_means_what_numpy_means_by_it():
    def step(t, w, g):
        bent = np.interp(g, [-1, 0, 0.5], [-2, 0, 3])
        return w - 0.1 * np.interp(t, [1, 3, 3.5], [0.5, 0.25, -1]) * bent

    assert_weights(agree(SPEC, bowl()), by_hand(bowl(), step))


def test_a_table_is_a_schedule_in_numpy_and_for_optax():
    rate = optc.schedule("interpolate(t, 2, 1.0, 4, 0.0)")
    expected = [1.0, 1.0, 0.5, 0.0, 0.0]
    np.testing.assert_array_equal(rate.values(5), expected)
    np.testing.assert_array_equal([rate.optax()(count) for count in range(5)], expected)


def test_a_long_table_is_formatted_with_one_point_a_line():
    points = "".join(f", {x}, {x / 100}" for x in range(1, 40))
    text = f"schedule table(peak) = peak * interpolate(t{points}) # all\n"
    once = format(parse(Source("<test>", text), Diagnostics()))
    assert once.splitlines()[2:5] == ["    t,", "    1, 0.01,", "    2, 0.02,"]
    assert format(parse(Source("<test>", once), Diagnostics())) == once
