"""Every pass says what it promises, and can be left out: what a spec means stays."""

from itertools import cycle, islice

import numpy as np
import pytest
from agreement import assert_same, graph_of, interpret
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from part import OPTIMIZERS, PART
from specs_at_random import specs

from optc.compiler.driver import print_program
from optc.compiler.graphs import optimised
from optc.compiler.locate import find
from optc.compiler.meaning.compare import Setting, Together, compare
from optc.compiler.meaning.side import Program, drawn
from optc.compiler.meaning.tapes import tape
from optc.compiler.passes import PIPELINE
from optc.compiler.passes.contracts import UnknownPassError, contracts, remaining

ROUNDING = {contract.name: contract.ulps for contract in contracts() if contract.ulps}
NAMES = [contract.name for contract in contracts()]
STEPS = 6


@pytest.mark.parametrize("contract", contracts(), ids=NAMES)
def test_a_pass_says_what_it_needs_and_what_it_guarantees(contract):
    assert contract.summary.endswith((".", "@ w`."))
    assert contract.headline
    assert contract.needs.endswith(".")
    assert contract.guarantees.endswith(".")


def test_passes_are_left_out_by_name_wherever_they_stand():
    assert remaining() == PIPELINE
    assert [run.__name__ for run in remaining(["cse", "dead_code"])] == [
        run.__name__ for run in PIPELINE if run.__name__ not in ("cse", "dead_code")
    ]
    assert remaining(NAMES) == ()
    assert remaining("cse") == remaining(["cse"])


@pytest.mark.parametrize(
    ("name", "help"),
    [("factr", "did you mean `factor`?"), ("vectorise", "there are dead_code, fold, hoist, ")],
)
def test_a_name_that_no_pass_has_is_refused_with_the_nearest(name, help):
    with pytest.raises(UnknownPassError, match=f"there is no pass `{name}`; ") as error:
        remaining(["cse", name])
    assert help in str(error.value)


def assert_same_meaning(graph, without, values):
    """A graph stays together with what passes make of it, in every bit if none of them rounds."""
    setting = Setting(values, values, "")
    one, other = (Program(graph.name, each) for each in (graph, optimised(graph, without)))
    found = compare(one, other, tape(0, steps=STEPS), setting)
    assert isinstance(found, Together), (without, found)
    assert found.apart == 0 or not set(without) >= ROUNDING.keys(), (without, found)
    # The first step starts from the same numbers, so that it is apart by what passes state.
    (first,), (second,) = (side.follow(tape(0), values, steps=1).moments for side in (one, other))
    stated = 2.0**-52 * sum(ulps for name, ulps in ROUNDING.items() if name not in without)
    largest = max(np.abs(x).max() for x in tape(0).weights)
    for x, y in zip(first.weights, second.weights, strict=True):
        np.testing.assert_allclose(y, x, rtol=0, atol=stated * largest)


SETS = [*({name} for name in NAMES), set(ROUNDING)]
"""What is left out: each pass alone, and all that round."""


def shares():
    """Optimizers, each with sets of passes to leave out: CI takes a part of both."""
    few = cycle(SETS)
    for name in OPTIMIZERS:
        yield (
            pytest.param(name, tuple(islice(few, 3)), id=name)
            if name in PART
            else pytest.param(name, SETS, id=name, marks=pytest.mark.rest)
        )


@pytest.mark.parametrize(("name", "sets"), list(shares()))
def test_an_optimizer_means_the_same_without_a_pass(name, sets):
    graph = graph_of(find(name))
    values = drawn(graph.hyperparameters, 1)
    for without in sets:
        assert_same_meaning(graph, without, values)


TRIED = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@TRIED
@given(specs(), st.sets(st.sampled_from(NAMES)))
def test_a_random_spec_means_the_same_without_some_passes(text, without):
    graph, bits = graph_of(text), set(without) >= ROUNDING.keys()
    before, after = (interpret(each, steps=2) for each in (graph, optimised(graph, without)))
    # What rounds may be divided by a small norm; else every bit stays.
    assert_same(after, before, rtol=0 if bits else 1e-8, atol=0 if bits else 1e-11)
    assert print_program(graph, without=without).source
