"""Every optimizer goes on from what was kept as it went on before, to the bit."""

import pytest
from shipped import OPTIMIZERS, SPLIT, bits, described, make_batch, make_params

import optc
from optc.api.store import Store


def stepped(name, store):
    """Weights, state and report after two steps of a program that is loaded anew."""
    program = optc.load(name)
    optimizer = program.keep(store, program.source)()
    params = make_params()
    state = optimizer.init(params)
    for _ in range(2):
        params, state, report = optimizer.step(params, state, make_batch(), SPLIT)
    return params, state, report


@pytest.mark.rest
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_what_was_kept(name, tmp_path):
    store = Store(tmp_path / "kept")
    first = stepped(name, store)
    entries = store.usage()
    assert entries.entries == 2, "the fresh state and the step"
    again = stepped(name, store)
    assert store.usage() == entries
    assert described(first) == described(again)
    assert bits(first) == bits(again)
