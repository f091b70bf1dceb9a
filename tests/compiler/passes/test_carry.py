"""Scalar factors are carried into uses: less is written and read, and the numbers are the same."""

from importlib import import_module

import pytest
from agreement import assert_same, graph_of, interpret
from hypothesis import HealthCheck, given, settings
from positive_at_random import ULPS, positive_specs
from tried import bowl

from optc.compiler import library
from optc.compiler.graphs import optimised
from optc.compiler.locate import find
from optc.compiler.passes import PIPELINE
from optc.compiler.passes.carry import carry
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.factor import factor
from optc.compiler.passes.fold import fold
from optc.compiler.traffic import moved
from optc.compiler.verify import verify

ROUNDING = 3 * 16 * 2.0**-52
"""Three steps of 16 ulps."""

CARRIED = {
    # name: how many tensors a step writes and reads before and after, `norm(g)` included
    "adabelief": (15, 12),  # mu: 3, nu: 4 with the new mu, weights: 4; before, nu was made twice
    "dog": (10, 9),
    "dog_distance": (10, 9),
    "dog_first_step": (10, 9),
    "dowg": (10, 9),
    "eadam": (14, 11),
    "ldog": (10, 9),
    "sgd_agc": (12, 10),
    "sgdr": (11, 9),
}
"""The optimizers of the library that gain, but for those of matrices."""

OF_MATRICES = {
    *("muon_optax_rms", "shampoo_adamw", "shampoo_adamw_flax", "shampoo_capped", "shampoo_fisher")
}
"""A factor leaves a norm."""


def factored(spec):
    return verify(dead_code(factor(verify(dead_code(cse(fold(graph_of(spec))))))))


def tensors(graph):
    return moved(graph).tensors


@pytest.mark.parametrize("name", CARRIED)
def test_carrying_keeps_what_a_shipped_optimizer_does_and_moves_less(name):
    graph = factored(find(name))
    after = verify(carry(graph), lean=True)
    assert (tensors(graph), tensors(after)) == CARRIED[name]
    assert_same(interpret(after, steps=3), interpret(graph, steps=3), rtol=ROUNDING, atol=ROUNDING)
    assert carry(after) == after


@pytest.mark.rest
def test_only_these_shipped_optimizers_change():
    changed = set()
    for name in library.names("optimizer"):
        graph = graph_of(find(name))
        for run in PIPELINE[: PIPELINE.index(carry)]:
            graph = run(graph)
        after = verify(carry(graph))
        if after != graph:
            changed.add(name)
            before, found = interpret(graph, steps=2), interpret(after, steps=2)
            assert_same(found, before, rtol=1e-10, atol=1e-10)  # roots of matrices amplify
    assert changed == CARRIED.keys() | OF_MATRICES


def both(body, parameters="a = 2.0 in (0, 4), c = 0.5 in [0, 1)"):
    """The tensors that a rule moves before and after, where it keeps its numbers."""
    graph = factored(
        f"rule precondition own(a, c) {{ {body} }}\n"
        f"optimizer one({parameters}) {{ precondition own(a, c)  tune step 0.1 }}"
    )
    after = verify(carry(graph), lean=True)
    found, expected = interpret(after, bowl(), 3), interpret(graph, bowl(), 3)
    assert_same(found, expected, rtol=ROUNDING, atol=ROUNDING)
    return tensors(graph), tensors(after)


def test_a_sum_that_is_asked_for_its_norm_is_not_stored():
    # Stored: g, w -> u; u -> norm; w, u -> w. Carried: g, w, c -> norm; g, w -> w.
    assert both("u = g + c * w  return u / norm(u)") == (7, 6)


def test_a_factor_leaves_a_reduction():
    # Before: s and its broadcast are read for the norm; after, s alone.
    assert both("state s = zeros(g)  s <- s + g^2  return g / norm(a * s)") == (8, 7)


def test_a_state_ends_in_what_takes_two_tensors():
    # Before, the weights' kernel reads g and a copy of the old state; after, the new state.
    assert both("state s = ones(g)  s <- s + c * g^2 + a  return g / sqrt(s)") == (9, 7)


def test_a_difference_is_not_taken_apart():
    one, other = both("u = g - w  return u / norm(u)")
    assert one == other


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(positive_specs())
def test_random_sums_and_quotients_keep_their_numbers(text):
    graph = graph_of(text)
    bound = ULPS * 2.0**-52
    after = optimised(graph)
    assert_same(interpret(after, steps=3), interpret(graph, steps=3), rtol=bound, atol=bound)
    assert tensors(after) <= tensors(factored(text))


@pytest.mark.parametrize("tries", [0, 1])
def test_what_is_tried_is_bounded(tries, monkeypatch):
    graph, looked_at = factored(find("dog")), []
    module = import_module(carry.__module__)  # its name is that of the pass too
    seen = module._moved
    monkeypatch.setattr(module, "_WORK", tries * len(graph.step.nodes))
    monkeypatch.setattr(module, "_moved", lambda each: looked_at.append(each) or seen(each))
    carry(graph)
    assert len(looked_at) == 1 + tries
