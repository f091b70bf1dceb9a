"""`--no-pass NAME` leaves a pass out, wherever what is executed is looked at."""

import re

import pytest

NO_FACTOR = ("--no-pass", "factor")


def test_a_module_is_printed_without_a_pass(optc):
    code, out, _ = optc("compile", "adamw", "-o", "-", "--no-pass", "factor", "--no-pass", "cse")
    assert code == 0
    assert "scaled_eps" not in out
    assert "\nPasses left out: cse, factor.\n" in out
    assert "scaled_eps" in optc("compile", "adamw", "-o", "-").out


def test_a_box_is_shown_without_a_pass(optc):
    shown = [optc("explain", "adamw", "--executed", *more).out for more in ((), NO_FACTOR)]
    assert "m̂ₜ" in shown[1]
    assert shown[0] != shown[1]


def test_a_plan_counts_what_is_executed_without_a_pass(optc):
    plans = (optc("plan", "adamw", "--params", "mlp", *more).out for more in ((), NO_FACTOR))
    fewer, more = (float(re.search(r"all of it .* (\S+)\n", plan)[1]) for plan in plans)
    assert fewer < more


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("compile", "adamw", "--no-pass", "factr"), "there is no pass `factr`; did you mean"),
        (("explain", "adamw", "--executed", "--no-pass", "x"), "there is no pass `x`; there are"),
        (("explain", "adamw", "--no-pass", "cse"), "only what is --executed has been through"),
        (("plan", "adamw", "--params", "mlp", "--no-pass", "CSE"), "there is no pass `CSE`"),
    ],
)
def test_a_name_that_no_pass_has_is_a_usage_error(optc, command, message):
    code, out, err = optc(*command)
    assert (code, out) == (2, "")
    assert message in err
