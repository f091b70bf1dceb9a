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
    "dtype=<class '.*complex": "complex weights: ours are real, and split first by "
    "`optax.contrib.split_real_and_imaginary`",
    "params_dtype='complex64'": "complex weights",
    r"\.test_extra_args ": "integer weights, which are not trained here",
    "test_inject_hyperparams_starts_with_step_count_zero ": "integer gradients",
    r"test_centralize|\.test_scale |ClippingTest": "gives a state that `init` did not make",
    "test_lion_modes|test_statefull_inner|test_zero_nans|test_masked_state_structure|StateUtils": (
        "speaks of optax's own state types"
    ),
    "test_bad_structure_raises|test_selective_bad_structure": "expects optax's words in an error",
    "FreezeTest.test_freeze_updates": "expects no count of steps where there is no other state",
    "AddingTest.test_none_argument": "gradients that are None where the weights are not",
}
"""Which tests of optax fail with ours in place, by their id and parameters, and why."""

INJECTED = (
    "injected, an argument without counterpart is traced, and optax's function stands in for one "
    "of the two that are compared"
)

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
    if calls.refused and "wrapped_in_inject_hyperparams" in method:
        reasons.append(INJECTED)
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
        found = "passed", ""
    record_property("optax", (name, *found, sorted(calls.ours.items())))
