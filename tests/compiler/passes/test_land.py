"""A step that is taken now and then leads to the next weights where it is made."""

import pytest
from agreement import assert_same, graph_of, interpret
from specimens import SPECIMENS
from tried import spiked

from optc.compiler.graph import walk
from optc.compiler.passes.cse import cse
from optc.compiler.passes.dead_code import dead_code
from optc.compiler.passes.land import land
from optc.compiler.verify import verify

MOVING = "precondition momentum() tune step 0.1"

CASES = {
    # stages: (the role of the result, how it comes about)
    MOVING: ("step", ""),
    f"{MOVING} average ema(0.9)": ("step", "change"),
    f"{MOVING} constrain nonnegative()": ("weights", ""),
    f"accumulate 2 {MOVING}": ("moved", ""),
    f"accumulate 2 {MOVING} guard finite()": ("moved", ""),
    f"accumulate 2 {MOVING} average ema(0.9)": ("moved", "change"),
    f"accumulate 2 {MOVING} constrain nonnegative()": ("weights", ""),
}


def before(stages):
    return cse(graph_of(f"optimizer one() {{ {stages} observe norm(w_next) as size }}"))


@pytest.mark.parametrize("stages", CASES)
def test_the_next_weights_are_the_same_to_the_last_bit(stages):
    plain = before(stages)
    landed = verify(dead_code(land(plain)))
    for model in (None, spiked()):
        one, other = (interpret(graph, model, steps=4) for graph in (landed, plain))
        assert_same(one, other, rtol=0, atol=0)
    role, added = CASES[stages]
    assert landed.outputs[0].role == role
    found = {node.op for node in walk(landed.step)} & {"moved", "unmoved"}
    assert found == ({"moved", "unmoved"} if role == "moved" else set())
    assert any(node.name == "change" for node in walk(landed.step)) == bool(added)
    assert land(landed) == landed


def test_it_keeps_the_meaning_of_all_specimens(specimen_name):
    plain = cse(graph_of(SPECIMENS[specimen_name]))
    landed = verify(land(plain))
    if landed != plain:
        assert_same(interpret(landed, steps=3), interpret(plain, steps=3), rtol=0, atol=0)


def test_a_graph_that_makes_no_step_stays():
    """As those of schedules, whose values alone are asked for."""
    plain = before(MOVING)
    rest = plain.step.model_copy(update={"results": plain.step.results[1:]})
    plain = plain.model_copy(update={"step": rest, "outputs": plain.outputs[1:]})
    assert land(plain) == plain


def test_a_choice_that_is_made_before_the_program_runs_is_left_alone():
    text = (
        "rule tune held(flag: bool) { if flag { return 0.1 } else { return 0 } }\n"
        "optimizer one(flag: bool = true) { tune step held(flag) }"
    )
    plain = cse(graph_of(text))
    assert land(plain) == plain
