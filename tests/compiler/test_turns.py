"""Staggered work: who has a turn when, and what that means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import agree, assert_same, graph_of, specimen
from hypothesis import given
from hypothesis import strategies as st

from optc.compiler import turns
from optc.compiler.meaning.normal import normal_form
from optc.runtime.turns import turns as printed_turns

shapes = st.lists(
    st.one_of(
        st.none(),
        st.sampled_from((((4, 4),), ((4, 4), (2, 2)), ((8, 2),), ((3, 4, 4),), ((1,),), ((),))),
    ),
    max_size=40,
)


@given(shapes, st.integers(1, 12))
def test_both_schedules_are_one(shapes, period):
    assert printed_turns(tuple(shapes), period) == tuple(turns.turns(shapes, period))


@given(shapes, st.integers(1, 12))
def test_each_tensor_has_one_turn_and_no_step_has_more_of_a_class_than_its_share(shapes, period):
    found = turns.turns(shapes, period)
    assert [turn is None for turn in found] == [kept is None for kept in shapes]
    for kept in {*shapes} - {None}:
        own = [turn for turn, other in zip(found, shapes, strict=True) if other == kept]
        assert all(0 <= turn < period for turn in own)
        assert max(map(own.count, own)) == -(-len(own) // period)


def test_classes_take_the_steps_that_others_leave():
    big, small = ((256, 256),), ((64, 64),)
    # 6 large ones fill 6 of 8 steps; the two small ones go where nothing is yet.
    assert turns.turns([big] * 6 + [small] * 2, 8) == [0, 1, 2, 3, 4, 5, 6, 7]


SPEC = """
rule precondition lazy(n: int) {
  state kept = zeros(g)
  every n WORD { kept <- g }
  return kept
}
optimizer one(n: int = NUMBER in [1, inf)) { precondition lazy(n)  tune step 0.1 }
"""


def spec(word="staggered", number=3):
    return SPEC.replace("WORD", word).replace("NUMBER", str(number))


def test_a_tensor_keeps_what_it_has_until_its_turn():
    trace = agree(spec(), steps=5)
    kept = [moment.slots["precondition", "kept"] for moment in trace.moments]
    shapes = [(x.shape,) for x in kept[0]]
    for place, turn in enumerate(turns.turns(shapes, 3)):
        for t in range(1, 6):
            before = kept[t - 2][place] if t > 1 else 0 * kept[0][place]
            assert np.array_equal(kept[t - 1][place], before) == ((t - 1) % 3 != turn)


def test_turns_of_one_step_are_every_step():
    assert_same(agree(spec(number=1), steps=2), agree(spec("", 1), steps=2), rtol=0, atol=0)


def test_a_period_below_one_is_refused_when_it_is_bound():
    bare = spec().replace(" in [1, inf)", "")
    with pytest.raises(ValueError, match="n"):
        specimen(bare).program(n=0)


def test_the_normal_form_knows_turns_from_all_at_once_and_not_their_names():
    form = normal_form(graph_of(spec()))
    assert form.digest == normal_form(graph_of(spec().replace("kept", "held"))).digest
    assert form.digest != normal_form(graph_of(spec(""))).digest
    some = spec().replace("every", "when ndim > 1 { every").replace("kept <- g }", "kept <- g } }")
    assert form.digest != normal_form(graph_of(some)).digest


def test_tensors_of_equal_shape_share_the_text_of_their_work():
    chain = specimen(spec()).program().transform()

    def bodies(count):
        params = {str(i): jnp.ones((2, 3)) for i in range(count)}
        text = jax.jit(chain.update).lower(params, chain.init(params), params).as_text()
        return text.count("stablehlo.while")

    assert bodies(4) == bodies(8) == 1
