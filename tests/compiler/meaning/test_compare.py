"""What counts as together: rounding does, and nothing that is larger."""

from functools import cache

import pytest
from agreement import graph_of
from part import optimizers

from optc.compiler.graphs import optimised
from optc.compiler.locate import find
from optc.compiler.meaning.compare import MARGIN, Parting, Setting, Together, compare
from optc.compiler.meaning.side import Program, drawn
from optc.compiler.meaning.tapes import tape

DEFAULTS = Setting({}, {}, "at the defaults")


@cache
def side(body, more=""):
    return Program("one", graph_of(f"optimizer one(lr = 0.1 in [0, inf)) {{ {body} }}\n{more}"))


@pytest.mark.parametrize("name", optimizers())
def test_every_optimizer_stays_together_with_itself_after_the_passes(name):
    """Passes change the order of arithmetic; a quarter of the bound is what the margin leaves."""
    graph = graph_of(find(name))
    values = drawn(graph.hyperparameters, 1)
    setting = Setting(values, values, "")
    found = compare(Program(name, graph), Program(name, optimised(graph)), tape(0), setting)
    assert isinstance(found, Together), found
    assert found.apart <= found.bound / MARGIN


@pytest.mark.parametrize("factor", ["1.0000000001", "0.999999"])
def test_a_small_factor_is_no_rounding(factor):
    one, other = side("tune step lr"), side(f"tune step {factor} * lr")
    found = compare(one, other, tape(0), DEFAULTS)
    assert isinstance(found, Parting)
    assert found.step == 1
    assert found.apart > found.bound


def test_another_order_of_a_sum_is_rounding():
    one = side("precondition sum() tune step lr", _rule("sum", "(g + 0.1 * w) + 0.3 * abs(g)"))
    other = side("precondition sum() tune step lr", _rule("sum", "g + (0.3 * abs(g) + 0.1 * w)"))
    found = compare(one, other, tape(0), DEFAULTS)
    assert isinstance(found, Together)
    assert 0 < found.apart <= found.bound


def test_what_makes_rounding_grow_is_not_followed_further():
    body = "precondition wild() tune step lr"
    wild = side(body, _rule("wild", "sin(1e6 * w)"))
    found = compare(wild, side(body, _rule("wild", "sin(1e6 * w) ")), tape(0), DEFAULTS)
    assert isinstance(found, Together)
    assert found.steps < 20
    assert "rounding may be worth" in found.reason


def test_what_is_not_finite_on_one_side_is_a_difference():
    fine, broken = side("tune step lr"), side("tune step where(t < 3, lr, lr / (t - t))")
    found = compare(fine, broken, tape(0), DEFAULTS)
    assert isinstance(found, Parting)
    assert found.step == 3
    both = compare(broken, broken, tape(0), DEFAULTS)
    assert isinstance(both, Together)
    assert (both.steps, both.reason) == (2, "not finite from step 3 on")


def _rule(name, formula):
    return f"rule precondition {name}() {{ return {formula} }}"
