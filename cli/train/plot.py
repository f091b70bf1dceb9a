"""`curve.png`: the loss, raw and smoothed, the evaluations, and every observed value below."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...api.picture import BLUE, GREY, ORANGE, tidy
from .metrics import Entry
from .panels import Numbers, evaluated, is_wide, numbers, panels_of

_COLUMNS = 3


def draw(entries: Sequence[Entry], title: str, path: Path) -> None:
    """Draw the curves of a run into a PNG file."""
    loss = numbers("training", BLUE, entries, lambda entry: entry.loss)
    evaluation = evaluated("loss", entries)
    panels = [panel for panel in panels_of(entries) if len(panel.steps)]
    rows = math.ceil(len(panels) / _COLUMNS)
    heights = [3.6, *[1.7] * rows]
    figure = Figure(figsize=(9.0, sum(heights) + 0.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + rows, _COLUMNS, height_ratios=heights)
    _draw_loss(figure.add_subplot(grid[0, :]), title, loss, evaluation)
    for i, panel in enumerate(panels):
        panel.draw(figure.add_subplot(grid[1 + i // _COLUMNS, i % _COLUMNS]))
    for axes in figure.axes:
        axes.set_xlim(0, max(entry.step for entry in entries))
    figure.savefig(path)


def _draw_loss(axes: Axes, title: str, loss: Numbers, evaluation: Numbers) -> None:
    values = loss.values
    wide = is_wide(values)
    many = len(values) >= 50
    axes.plot(
        loss.steps,
        values,
        color=BLUE,
        alpha=0.35 if many else 1.0,
        linewidth=1.0,
        label="training loss",
    )
    if many:
        # On a logarithmic axis the eye averages logarithms.
        smooth = np.exp(_smooth(np.log(values))) if wide else _smooth(values)
        axes.plot(loss.steps, smooth, color=BLUE, linewidth=2.0, label="training loss, smoothed")
    axes.plot(
        evaluation.steps,
        evaluation.values,
        color=ORANGE,
        linewidth=1.4,
        marker="o",
        markersize=3.5,
        label="evaluation loss",
    )
    if wide:
        axes.set_yscale("log")
    axes.set_title(title, fontsize=12, loc="left", pad=10)
    axes.set_xlabel("step", color=GREY)
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _smooth(values: np.ndarray) -> np.ndarray:
    """The mean over the fortieth of the values around each, over fewer near both ends.

    Both sides count alike, so that the curve does not lag behind.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(np.minimum(places, places[::-1]), len(values) // 80)
    means: np.ndarray = (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)
    return means
