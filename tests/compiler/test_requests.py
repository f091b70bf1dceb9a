"""What an optimizer asks of whoever trains: reported, and nothing of the update."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import graph_of, mistakes
from tried import net

import optc
from optc.compiler.meaning.meaning import changes, meaning
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.format import format
from optc.grammar.parse import parse
from optc.grammar.source import Source

PLAIN = "optimizer x(lr = 0.1) { precondition adam() tune step lr }"
ASKING = PLAIN.replace(" }", "  request 8 * t as batch_size every 2\n observe norm(g) as size }")


def test_a_request_is_reported_beside_what_is_observed():
    program = optc.compile(ASKING)
    assert (program.observed, program.requested) == (("size",), ("batch_size",))
    optimizer, params = program(), {"x": jnp.ones(3)}
    objective = optc.Objective(loss=lambda p, b: jnp.sum(p["x"] ** 2) + 0 * b)
    state, found = optimizer.init(params), []
    for _ in range(3):
        params, state, report = optimizer.step(params, state, jnp.zeros(()), objective)
        assert report.observed.keys() == {"size"}
        found.append(float(report.requested["batch_size"]))
    assert found[0] == 8
    assert math.isnan(found[1])
    assert found[2] == 24


def test_a_request_below_accumulate_is_due_with_its_step():
    text = "optimizer x() { accumulate 2 tune step 0.1 request 16 as batch_size }"
    optimizer, batch = optc.compile(text)(), net().batch(0)
    params, state = net().params, optimizer.init(net().params)
    found = []
    for _ in range(4):
        params, state, report = optimizer.update(params, state, batch, net().objective)
        found.append(float(report.requested["batch_size"]))
    np.testing.assert_array_equal(found, [np.nan, 16, np.nan, 16])


def test_it_changes_nothing_of_the_map_and_is_a_part_of_the_meaning():
    plain, asking = (meaning(graph_of(text)) for text in (PLAIN, ASKING))
    assert plain.map == asking.map
    assert plain.hash != asking.hash
    said = "\n".join(changes(plain, asking))
    assert "requested batch_size" in said
    assert "observed size" in said
    observing = meaning(graph_of(ASKING.replace("request 8", "observe 8")))
    assert observing.hash != asking.hash


def test_the_formatter_keeps_it():
    text = "optimizer x(lr = 0.1) { tune step lr request   norm( g )as batch_size every 5 }"
    formatted = format(parse(Source("x.opt", text), Diagnostics()))
    assert "  request norm(g) as batch_size every 5\n" in formatted
    assert format(parse(Source("x.opt", formatted), Diagnostics())) == formatted


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("request g as batch_size", "`request` asks for one number; this is a field"),
        ("request norm(g, per = tensor) as batch_size", "`request` asks for one number; this is"),
        ("request norm(g) as rate", "`rate` cannot be requested"),
        ("request 1 as batch_size request 2 as batch_size", "`batch_size` is reported twice"),
    ],
)
def test_what_cannot_be_requested_is_refused(request_, message):
    (found,) = mistakes(f"optimizer x() {{ tune step 0.1 {request_} }}")
    assert message in found
