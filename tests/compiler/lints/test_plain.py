"""Plain numbers of a step are those of NumPy."""

import math

import numpy as np
import pytest
from linted import OPTIMIZERS, followed, numbers, subject

from optc.compiler.lints.plain import curve, values
from optc.compiler.lints.run import at_defaults, rates
from optc.compiler.ops import ELEMENTWISE
from optc.compiler.schedules import curves, value

SCHEDULES = [
    "warmup_cosine(0.1, 10, 100, 0.01)",
    "wsd(0.1, 10, 100, curve = 'sqrt')".replace("'", '"'),
    "sgdr(0.1, 7, 1.5, 0.01)",
    "cosine_power(0.1, 90, 9, 12, rescale = true)",
    "linear_onecycle(100, 0.1)",
    "multi_step(0.1, 0.5, 20, 40)",
    "exponential_decay(0.1, 7, 0.9, 3, true, 0.02)",
    "triangular(0.01, 0.1, 9)",
    "0.1 * interpolate(t, 1, 0.0, 10, 1.0, 90, 0.25)",
    "0.1 * clamp(round(t / 3), 2, 9) / max(ceil(t / 5), 3) + 0.001 * sin(t)^2",
]


@pytest.mark.parametrize("text", SCHEDULES)
def test_the_curve_of_a_schedule_is_the_one_that_is_drawn(text):
    (rate,) = rates(subject(f"optimizer one() {{ tune step {text} }}"))
    (drawn,) = curves(None, text, {})
    steps = [*range(1, 120), 10_000]
    expected = [float(value(drawn.graph, t, np)) for t in steps]
    np.testing.assert_allclose([rate.at(t) for t in steps], expected, rtol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS[::7])
def test_what_is_known_of_a_step_is_what_the_interpreter_finds(name):
    subj = subject(name)
    for t, seen in enumerate(followed(name, 3), 1):
        found = values(subj.nodes, subj.nodes, at_defaults(subj, t))
        for id, known in found.items():
            if id in seen and not isinstance(known, str):
                exact = numbers(seen[id])
                assert exact is None or np.allclose(exact, known, rtol=1e-12, equal_nan=True)


def test_arithmetic_is_that_of_floats():
    text = "optimizer one(a = 0, b = 2) {{ tune step {} }}"
    for expression, expected in [
        ("1 / a", math.inf),
        ("-1 / a", -math.inf),
        ("a / a", math.nan),
        ("log(a)", -math.inf),
        ("sqrt(a - 1)", math.nan),
        ("(a - 1)^0.5", math.nan),
        ("a^-1", math.inf),
        ("exp(1000 * b)", math.inf),
        ("b^(1000 * b)", math.inf),
        ("min(1 / a, 3)", 3.0),
        ("where(a > 0, 1 / a, b)", 2.0),
        ("b % a", math.nan),
    ]:
        subj = subject(text.format(expression))
        (tune,) = [p for p in subj.draft.passages if subj.stage(p).kind == "tune"]
        size = subj.eta(tune)
        found = values(subj.nodes, (size,), at_defaults(subj))[size]
        assert found == expected or (math.isnan(expected) and math.isnan(found)), expression


def test_every_op_on_elements_has_a_plain_meaning():
    from optc.compiler.lints.plain import _SPECIAL

    special = {*_SPECIAL, "interpolate", "where"}
    assert [op.name for op in ELEMENTWISE if op.scalar is None and op.name not in special] == []


def test_what_asks_the_weights_is_no_curve():
    subj = subject("optimizer one() { tune step 0.1 * t / (1 + norm(g)) }")
    (tune,) = [p for p in subj.draft.passages if subj.stage(p).kind == "tune"]
    assert curve(subj.nodes, subj.eta(tune), at_defaults(subj)) is None
