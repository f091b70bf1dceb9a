"""Groups that can take nothing: found before there are weights, and never without reason."""

import pytest
from agreement import located
from hypothesis import given
from hypothesis import strategies as st

from optc.compiler.check import check
from optc.compiler.coverage import implies
from optc.compiler.predicate import holds, predicate
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.parse import parse
from optc.grammar.source import Source


def groups(*wheres):
    parts = (f"group g{i} where {where} {{ tune step 1 }}" for i, where in enumerate(wheres))
    return check(located(f"optimizer one() {{ {' '.join(parts)} group rest {{ tune step 1 }} }}"))


def codes(*wheres):
    return [d.code for d in groups(*wheres).sorted()]


@pytest.mark.parametrize(
    "wheres",
    [
        ("ndim >= 2 and ndim < 2",),
        ("ndim == 1.5",),
        ("ndim < 0",),
        ("rows > 4 and ndim == 1",),
        ('path matches "a" and not path matches "a"',),
        ("shape is [a, b] and shape is [.., a, b, c]",),
    ],
)
def test_a_group_that_contradicts_itself_is_warned_of(wheres):
    assert codes(*wheres) == ["empty-group"]


@pytest.mark.parametrize(
    "wheres",
    [
        ("ndim >= 1", "ndim >= 2"),
        ('path matches "head"', 'path matches "head" and ndim >= 2'),
        ("ndim >= 2", "ndim < 2", 'path matches "bias"'),
        ("size <= 10", "size < 5 or size == 7"),
    ],
)
def test_a_group_that_earlier_ones_empty_is_warned_of(wheres):
    assert codes(*wheres) == ["hidden-group"]


@pytest.mark.parametrize(
    "wheres",
    [
        ("ndim >= 2", "ndim >= 1"),
        ('path matches "a"', 'path matches "b"'),
        ("rows > 10 and cols > 20 and size == 1000", "ndim == 2"),
        ("rows > cols and cols > 128", "rows >= 128"),
        ('dtype == "bfloat16"', 'dtype != "bfloat16"'),
    ],
)
def test_a_group_that_may_take_something_is_left_alone(wheres):
    assert codes(*wheres) == []


SHAPES = [(), (1,), (2,), (3,), (5,), (2, 3), (3, 2), (1, 1), (4, 4), (2, 3, 4), (0, 3)]

names = st.sampled_from(("ndim", "size", "rows", "cols"))
comparisons = st.builds(
    lambda name, op, n: f"{name} {op} {n}",
    names,
    st.sampled_from(("<", "<=", ">", ">=", "==", "!=")),
    st.integers(0, 6),
)
texts = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("not ({})".format, inner),
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
    ),
    max_leaves=4,
)


def term(text):
    source = Source("<test>", f"optimizer one() {{ clip c where {text} tune step 1 }}")
    (optimizer,) = parse(source, Diagnostics()).items
    return predicate(optimizer.body[0].where, Diagnostics())


def tensor(shape):
    size = 1
    for length in shape:
        size *= length
    rows, cols = ([1, 1, *shape])[-2:] if len(shape) != 1 else (1, shape[0])
    return {"ndim": len(shape), "size": size, "rows": rows, "cols": cols}


@given(texts, texts)
def test_what_is_implied_holds_for_every_tensor(premise, conclusion):
    one, other = term(premise), term(conclusion)
    if implies([one], other):
        assert all(holds(other, tensor(s)) for s in SHAPES if holds(one, tensor(s)))
