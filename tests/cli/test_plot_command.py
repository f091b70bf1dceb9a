import sys

import matplotlib.image
import numpy as np
import pytest

from optc.api.picture import draw


def test_several_schedules_go_into_one_picture(optc, tmp_path):
    code, out, err = optc(
        *("plot", "constant", "linear_decay", "0.1 * 0.9^t", "sgd"),
        *("--set", "rate=0.5", "--set", "peak=1", "--set", "total=30", "-o", "two.png"),
    )
    assert (code, out, err) == (0, "", "wrote two.png\n")
    assert matplotlib.image.imread(tmp_path / "two.png").ndim == 3


def test_the_picture_has_each_curve_and_its_name():
    rates = {"one $x$": np.array([1.0, 2.0]), "two": np.array([3.0])}
    figure = draw(rates)
    lines = figure.axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[1, 2], [3]]
    assert [text.get_text() for text in figure.legends[0].texts] == [r"one \$x\$", "two"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["constan"], "did you mean `constant`?"),
        (["nowhere.opt:x"], "nowhere.opt: no such file"),
        (["t", "--set", "a=1"], "nothing that is drawn has a parameter `a`"),
        (["t", "-o", "t.xyz"], "cannot write t.xyz"),
        (["t", "-o", "no/where.png"], "cannot write no/where.png"),
    ],
)
def test_what_cannot_be_drawn_is_said(optc, arguments, message):
    code, out, err = optc("plot", *arguments)
    assert (code, out) == (1, "")
    assert message in err


def test_a_missing_matplotlib_is_named(optc, monkeypatch):
    monkeypatch.delitem(sys.modules, "optc.api.picture", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = optc("plot", "t")
    assert code == 1
    assert err == 'error: drawing needs matplotlib: pip install "optc[train]"\n'
