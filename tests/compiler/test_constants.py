"""Values that are known without running anything."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optc.compiler.constants import apply, evaluate
from optc.compiler.ops import OPS
from optc.grammar import syntax
from optc.grammar.diagnostic import Diagnostics
from optc.grammar.parse import parse
from optc.grammar.source import Source


def value(text, **names):
    report = Diagnostics()
    (item,) = parse(Source("<test>", f"schedule s() = {text}"), report).items
    assert isinstance(item, syntax.ScheduleDecl)
    return evaluate(item.value, names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("2^3^2", 512),
        ("-2^2", -4),
        ("(1 - 0.9) * 10", (1 - 0.9) * 10),
        ("7 % 3", 1),
        ("-1 % 3", 2),
        ("max(2, 3) - min(2, 3)", 1),
        ("sqrt(16)", 4.0),
        ("pi", math.pi),
        ("1 < 2 and not 2 < 1", True),
        ('"a" == "a"', True),
        ('"a" != "a"', False),
        ("a / 10", 0.1),
    ],
)
def test_arithmetic_on_what_is_known(text, expected):
    assert value(text, a=1) == expected


@pytest.mark.parametrize(
    "text",
    ["unknown", "1 / 0", "0 % 0", "sqrt(-1)", "log(0)", "9^9^9^9", "1e200 * 1e200", "(-8)^0.5",
     "norm(g)", 'sqrt("a")', '"a" < "b"', '"a" + "b"', "nothing(1)", "exp(1000)", "1 + true^0.5"],
)  # fmt: skip
def test_what_has_no_finite_value_is_not_known(text):
    found = value(text)
    assert found is None or isinstance(found, float | int)
    if text != "1 + true^0.5":
        assert found is None


numbers = st.one_of(
    st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)


@given(
    st.sampled_from(sorted(n for n, op in OPS.items() if op.scalar)),
    st.tuples(numbers, numbers, numbers),
)
def test_no_op_on_plain_numbers_raises(name, operands):
    op = OPS[name]
    found = apply(op.scalar, *operands[: op.arity])
    assert found is None or isinstance(found, bool | int | float)
    assert found is None or not isinstance(found, float) or math.isfinite(found)
