"""The tests of optax's wheel, with our transformations in the place of optax's.

    pytest --all tests/specs/test_optax_suite.py                    every case
    pytest --all --update-goldens tests/specs/test_optax_suite.py   and the table of docs/parity.md

CI runs each 20th case. A test passes when optax's own test passes; where none of our programs has
the arguments of a test, optax's function stands in, and the table gives the reason.
"""

import re

import pytest
from optax_suite import cases, run

EXCEPTIONS = {
    r"dtype=<class '.*complex": "complex weights: ours are real, and split first by "
    "`optax.contrib.split_real_and_imaginary`",
    r"params_dtype='complex64'": "complex weights",
    r"combine_test.*\.test_extra_args ": "integer weights, which are not trained here",
    r"_combining_test.*\.test_extra_args ": "integer weights, which are not trained here",
    r"\.test_rms_match_adam ": "compares our Adam with optax's RMSProp: in float32 the first "
    "updates of optax are off by 6e-6, and ours are not",
    r"\.test_schedule_free_adamw ": "compares our AdamW with optax's RMSProp: in float32 the first "
    "updates of optax are off by 6e-6, and ours are not",
}
"""Which tests of optax fail with ours in place, by their id and parameters, and why."""

STRIDE = 20
SLOW = "test_multi_steps_mixed_precision"


def _in_ci(number, method):
    return number % STRIDE == 0 and not method.startswith(SLOW)


CASES = [
    pytest.param(
        case,
        method,
        id=f"{case.__module__}.{case.__name__}.{method}",
        marks=() if _in_ci(number, method) else pytest.mark.rest,
    )
    for number, (case, method) in enumerate(cases())
]


@pytest.mark.parametrize(("case", "method"), CASES)
def test_a_test_of_optax_passes_with_ours_in_place(case, method, request, record_property):
    params = getattr(getattr(case, method), "__x_params_repr__", "")
    name = f"{case.__module__}.{case.__name__}.{method} {params}"
    reasons = [reason for pattern, reason in EXCEPTIONS.items() if re.search(pattern, name)]

    result, calls = run(case, method)

    if not calls.ours and not calls.refused:
        pytest.skip("makes nothing that a claim of ours speaks of")
    wrong = [trace for _, trace in result.failures + result.errors]
    if wrong:
        assert calls.ours
        assert reasons, wrong[0]
        found = "exception", reasons[0]
    elif result.skipped:
        found = "skipped by optax", result.skipped[0][1]
    elif calls.refused:
        (function, reason), *_ = calls.refused.items()
        found = "in part" if calls.ours else "exception", f"`optax.{function}`: {reason}"
    else:
        assert not reasons, "the exception is not needed"
        found = "passed", ""
    record_property("optax", (name, *found, sorted(calls.ours.items())))
