"""What goes along the gradient has its sign, next to a run where the gradient is zero."""

import numpy as np
import pytest
from linted import OF_EXAMPLES, OPTIMIZERS, followed, numbers, subject

from optc.compiler.lints.sign import Way, Ways


@pytest.mark.parametrize("name", sorted({*OPTIMIZERS} - OF_EXAMPLES))
def test_a_first_step_goes_the_way_that_is_told(name):
    one = subject(name)
    ways = Ways(one.draft, one.intervals)
    # A decay is rescaled with the gradient, and has no part in the way.
    (moved,), (still,) = followed(name, 1, decay=0), followed(name, 1, scale=0.0, decay=0)
    gradient = next(n.id for n in one.nodes.values() if n.op == "grad" and n.name == "g")
    g = numbers(moved[gradient])
    for node in one.draft.step.nodes:
        after, before = numbers(moved.get(node.id)), numbers(still.get(node.id))
        told = ways[node.id] in (Way.ALONG, Way.AGAINST) and after is not None
        if told and after.size == before.size == g.size:
            change = (after - before) * np.sign(g) * ways[node.id].value
            assert not (change < -1e-12).any(), node


def test_most_of_the_library_is_seen_to_go_down():
    down = 0
    for name in OPTIMIZERS:
        one = subject(name)
        ways = Ways(one.draft, one.intervals)
        tuned = [p for p in one.draft.passages if one.stage(p).kind == "tune"]
        assert not any(ways[p.after] is Way.AGAINST for p in tuned)
        down += all(ways[p.after] is Way.ALONG for p in tuned)
    assert down > len(OPTIMIZERS) / 2, down
