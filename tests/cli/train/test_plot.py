import math

import pytest

from optc.cli.train.metrics import Entry
from optc.cli.train.panels import panels_of
from optc.cli.train.plot import draw

PNG = b"\x89PNG\r\n\x1a\n"


def entry(step, loss, **observed):
    evaluation = {"loss": loss, "accuracy": 0.5} if step % 10 == 0 else {}
    return Entry(step, loss, observed, evaluation, 0.1 * step)


@pytest.mark.parametrize(
    "entries",
    [
        [entry(1, 1.0)],
        [entry(step, 1.0 / step, grad_norm=2.0 / step) for step in range(1, 101)],
        [entry(step, 10.0**-step) for step in range(1, 61)],
        [entry(step, -1.0, a=math.nan, b=0.0, c=1.0, d=2.0) for step in range(1, 61)],
        [entry(1, math.nan), entry(2, math.nan)],
        [entry(s, 1.0, ratio={"a": math.nan, "b": 1.0 / s}, none={}) for s in range(1, 4)],
        [entry(s, 1.0, ratio={f"{i}": i + s for i in range(9)}) for s in range(1, 4)],
        [entry(1, 1.0, spectrum=[[0.0, 2.0], [0.5, 0.5]])],
        [entry(s, 1.0, spectrum=[[0.0, s * s], [0.5, 0.5]]) for s in (1, 5, 6)],
        [entry(1, 1.0, spectrum=[[math.nan] * 2] * 2)],
    ],
    ids=[
        "one step",
        "usual",
        "wide",
        "negative, and a value never seen",
        "nothing finite",
        "few tensors",
        "many tensors",
        "a spectrum",
        "spectra",
        "no spectrum",
    ],
)
def test_every_run_has_a_picture(entries, tmp_path):
    draw(entries, "adam on digits", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(PNG)


def test_a_tensor_that_never_has_a_value_has_no_line():
    entries = [entry(s, 1.0, ratio={"a": math.nan, "b": s, "c": [math.nan, 2][s]}) for s in (0, 1)]
    (panel,) = [panel for panel in panels_of(entries) if panel.name == "ratio"]
    assert panel.paths == ("b", "c")
    assert panel.values.shape == (2, 2)
