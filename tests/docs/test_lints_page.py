"""The table of the page on lints: optax runs each row in silence, and we say what is written."""

import re
import warnings
from pathlib import Path

import jax.numpy as jnp
import optax
import pytest

from optc.compiler.check import check
from optc.compiler.locate import Located
from optc.grammar.source import Source

PAGE = Path(__file__).parents[2] / "docs" / "lints.md"
ROW = r"^\| {} \| `(.*?)` \| (error|warning) `([\w-]+)` \|$"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = re.findall(ROW.format("`(optax.*?)`"), TEXT, re.MULTILINE)
THREADS = re.findall(ROW.format(r"\[(.*?)\]\(http.*?"), TEXT, re.MULTILINE)

PARAMS = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}


def found(stages):
    """How severe, and by which codes, the findings in an optimizer of these stages are."""
    tune = "" if "tune step" in stages else "tune step lr"
    text = f"optimizer row(lr = 1e-3 in [0, inf)) {{ {stages} {tune} }}"
    return {(d.severity.value, d.code) for d in check(Located(Source("row.opt", text)))} - UNUSED


UNUSED = {("warning", "unused-parameter")}
"""A row that gives the step size as a number has no use for `lr`."""


def test_the_tables_have_rows():
    assert len(ROWS) >= 20
    assert len(THREADS) >= 5


@pytest.mark.parametrize(("made", "stages", "severity", "code"), ROWS)
def test_optax_is_silent_and_we_are_not(made, stages, severity, code):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transformation = eval(made, {"optax": optax})
        state = transformation.init(PARAMS)
        transformation.update(PARAMS, state, PARAMS)
    assert found(stages) == {(severity, code)}


@pytest.mark.parametrize(("thread", "stages", "severity", "code"), THREADS)
def test_what_people_met_is_found(thread, stages, severity, code):
    assert found(stages) == {(severity, code)}
