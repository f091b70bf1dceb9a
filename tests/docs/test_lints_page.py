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
ROW = re.compile(r"^\| `(optax.*?)` \| `(.*?)` \| (error|warning) `([\w-]+)` \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))

PARAMS = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}


def test_the_table_has_rows():
    assert len(ROWS) >= 20


@pytest.mark.parametrize(("made", "stages", "severity", "code"), ROWS)
def test_optax_is_silent_and_we_are_not(made, stages, severity, code):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transformation = eval(made, {"optax": optax})
        state = transformation.init(PARAMS)
        transformation.update(PARAMS, state, PARAMS)
    tune = "" if "tune step" in stages else "tune step lr"
    text = f"optimizer row(lr = 1e-3 in [0, inf)) {{ {stages} {tune} }}"
    (found,) = check(Located(Source("row.opt", text)))
    assert (found.severity.value, found.code) == (severity, code)
