"""Conditions on tensors: decided alike by us and by the text that is printed."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from agreement import agree, graph_of, mistakes
from hypothesis import given
from hypothesis import strategies as st

from optc import runtime as rt
from optc.compiler.environment import Tensors
from optc.compiler.interpret import Interpreter
from optc.compiler.notation.formula import spoken
from optc.compiler.predicate import bound, decider, holds, python
from optc.compiler.records import Term

TENSORS = [
    {"ndim": 2, "size": 12, "rows": 3, "cols": 4, "path": "layers/0/kernel", "dtype": "float32"},
    {
        "ndim": 1,
        "size": 4,
        "rows": 1,
        "cols": 4,
        "path": 'odd "quotes" \\ here',
        "dtype": "bfloat16",
    },
    {"ndim": 0, "size": 1, "rows": 1, "cols": 1, "path": "", "dtype": "float32"},
]


PARAMETERS = {"limit": 3, "count": 1}


def literal(value):
    return Term(op="literal", arguments=(value,))


def parameter(name):
    return Term(op="parameter", arguments=(name,))


numbers = st.recursive(
    st.one_of(
        st.builds(literal, st.integers(0, 12)),
        st.builds(parameter, st.sampled_from(sorted(PARAMETERS))),
    ),
    lambda inner: st.one_of(
        st.builds(lambda a: Term(op="neg", arguments=(a,)), inner),
        st.builds(
            lambda op, a, b: Term(op=op, arguments=(a, b)),
            st.sampled_from(("add", "sub", "mul", "max")),
            inner,
            inner,
        ),
    ),
    max_leaves=4,
)
comparisons = st.one_of(
    st.builds(
        lambda op, name, n: Term(op=op, arguments=(Term(op=name), n)),
        st.sampled_from(("lt", "le", "gt", "ge", "eq", "ne")),
        st.sampled_from(("ndim", "size", "rows", "cols")),
        numbers,
    ),
    st.builds(
        lambda op, text: Term(op=op, arguments=(Term(op="path"), literal(text))),
        st.sampled_from(("eq", "ne", "matches")),
        st.sampled_from(("kernel", "", 'odd "quotes"', "^lay", "0/k")),
    ),
)
terms = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(lambda a: Term(op="not", arguments=(a,)), inner),
        st.builds(
            lambda op, a, b: Term(op=op, arguments=(a, b)),
            st.sampled_from(("and", "or")),
            inner,
            inner,
        ),
    ),
    max_leaves=8,
)


@given(terms, st.sampled_from(TENSORS))
def test_the_printed_text_decides_alike(term, tensor):
    names = {"tensor": SimpleNamespace(**tensor), "rt": rt, "h": PARAMETERS}
    known, printed = bound(term, PARAMETERS), eval(python(term), names)
    assert printed == holds(known, tensor) == decider(known)(tensor)
    read = {"·": "*", "≤": "<=", "≥": ">=", "≠": "!=", "=": "=="}
    if "path" not in python(term):
        words = [read.get(word, word) for word in spoken(term).split()]
        assert eval(" ".join(words), {**tensor, **PARAMETERS}) == printed


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("ndim >= 2", [True, False, False]),
        ("not ndim == 1 and size > 1", [True, False, False]),
        ('path matches "kernel$" or path == ""', [True, False, True]),
        ('dtype == "bfloat16"', [False, True, False]),
        ("shape is [rows, cols]", [True, False, False]),
        ("shape is [.., rows]", [True, True, False]),
        ("rows >= 3 and cols >= 4", [True, False, False]),
        ("rows == 1", [False, True, True]),
    ],
)
def test_a_condition_chooses_tensors(where, chosen):
    graph = graph_of(f"optimizer one() {{ clip value(1) where {where}  tune step 0.1 }}")
    term = graph.domains[1].predicate
    assert [holds(term, tensor) for tensor in TENSORS] == chosen


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(a*)*$",
        "(.*a){20}",
        "a*a*a*a*a*$",
        "(?=a)a",
        r"(a)\\1",
        "(" * 200,
        "a" * 501,
        "[",
        "(a{1,30}){1,30}$",
        "((a|b)*c)*$",
        "(?:a?){30}a{30}",
    ],
)
def test_a_pattern_that_is_wrong_or_could_hang_is_refused(pattern):
    text = f'optimizer one() {{ clip value(1) where path matches "{pattern}"  tune step 0.1 }}'
    found = mistakes(text)
    assert found
    assert found[0].startswith("bad-pattern")


@pytest.mark.parametrize(
    "pattern", ["embed|head", "^layers/[0-9]+/", "(kernel|bias)$", ".*attention.*", "[a-z]{2,3}"]
)
def test_an_accepted_pattern_ends_soon_on_any_path(pattern):
    text = f'optimizer one() {{ clip value(1) where path matches "{pattern}"  tune step 0.1 }}'
    term = graph_of(text).domains[1].predicate
    started = time.perf_counter()
    holds(term, {"path": "a" * 2000 + "!", "ndim": 1, "size": 1, "dtype": "float32"})
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "where", ["rank >= 2", "g > 0", "ndim + 1 == 2", "path matches size", "t > 1"]
)
def test_what_does_not_choose_tensors_is_refused(where):
    text = f"optimizer one() {{ clip value(1) where {where}  tune step 0.1 }}"
    assert mistakes(text)[0].startswith("bad-predicate")


CAPPED = """
rule precondition capped(limit: int = 2) {
  var u = g
  when ndim >= 1 {
    when rows <= limit {
      state sum = zeros(g)
      sum <- sum + g
      u <- sum
    } else {
      u <- where(cols <= limit, 2, 3) * g
    }
  }
  return u
}
optimizer one(limit: int = 2 in [0, inf)) { precondition capped(limit)  tune step 0.1 }
"""


@pytest.mark.parametrize("limit", [0, 2, 9])
def test_inside_a_rule_an_int_parameter_stands_for_a_literal(limit):
    tensors = Tensors(["a", "b", "c"], ["float32"] * 3)
    weights = [np.ones((3, 2)), np.ones(5), np.array(1.0)]
    (slot,) = Interpreter(graph_of(CAPPED), tensors, {"limit": limit}).start(weights)
    chosen = [limit >= 3, limit >= 1, False]
    assert [x is not None for x in slot] == chosen


def test_the_printed_program_chooses_by_the_parameter_too():
    agree(CAPPED, limit=2)


@pytest.mark.parametrize(("rank", "most"), [(1, 2), (3, 6), (0, 1)])
def test_a_predicate_may_be_about_sums_and_products_of_int_parameters(rank, most):
    text = """
    rule precondition capped(rank: int = 3, least: int = rank - 1) {
      twice = 2 * rank
      when rows <= rank + 1 and rows <= twice { return g } else when cols > least * 3 { return -g }
      else { return where(size > 2 + rank, 2 * g, g) }
    }
    optimizer one(rank: int = 3) {
      precondition capped(rank)
      clip value(1) where rows <= rank * 2 and size > -rank
      tune step 0.1
    }
    """
    agree(text, steps=2, rank=rank)
    graph = graph_of(text)
    clipped = next(d for d in graph.domains if d.name == "clip_tensors")
    tensor = {"ndim": 2, "size": most, "rows": most, "cols": 1, "path": "", "dtype": "float32"}
    assert holds(bound(clipped.predicate, {"rank": rank}), tensor) == (most <= 2 * rank)


def test_what_settles_a_condition_leaves_the_rest_unasked():
    text = """
    rule precondition own(k: int = 3) {
      when k != 0 and 10 % k == 1 { state m = zeros(g)  m <- m + g  return m }
      else { return g }
    }
    optimizer one(k: int = 3) { precondition own(k)  tune step 0.1 }
    """
    predicate = graph_of(text).domains[1].predicate
    for k, expected in (3, True), (4, False), (0, False):
        assert [holds(bound(predicate, {"k": k}), each) for each in TENSORS][1] == expected
    agree(text, steps=1, k=0)


def test_a_property_stands_alone():
    found = mistakes(
        "optimizer one(k: int = 1) { clip value(1) where rows + k > 2  tune step 0.1 }"
    )
    assert found == ["bad-predicate: this cannot choose tensors"]


def test_a_float_parameter_chooses_no_tensors():
    text = """
    rule precondition capped(limit = 2) {
      when ndim >= 1 and cols <= limit { return g } else { return 2 * g }
    }
    optimizer one() { precondition capped()  tune step 0.1 }
    """
    assert mistakes(text)[0].startswith(
        "bad-predicate: `limit` is a scalar, which chooses no tensors"
    )
