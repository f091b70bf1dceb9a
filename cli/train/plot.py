"""`curve.png`: the loss, raw and smoothed, the evaluations, and every observed value below."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...api.picture import BLUE, GREY, ORANGE, tidy
from .metrics import Entry

_COLUMNS = 3
_WIDE = 100.0
"""What changes by more than this factor is drawn on a logarithmic axis."""

_ROUND = [1, 2, 2.5, 5, 10]
"""Distances of ticks, up to a power of ten."""


@dataclass(frozen=True)
class _Series:
    """The finite values of one quantity, and their steps."""

    name: str
    color: str
    steps: np.ndarray
    values: np.ndarray


def draw(entries: Sequence[Entry], title: str, path: Path) -> None:
    """Draw the curves of a run into a PNG file."""
    loss = _series("training", BLUE, entries, lambda entry: entry.loss)
    evaluation = _evaluated("loss", entries)
    panels = [series for series in _panels(entries) if len(series.steps)]
    rows = math.ceil(len(panels) / _COLUMNS)
    heights = [3.6, *[1.7] * rows]
    figure = Figure(figsize=(9.0, sum(heights) + 0.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + rows, _COLUMNS, height_ratios=heights)
    _draw_loss(figure.add_subplot(grid[0, :]), title, loss, evaluation)
    for i, series in enumerate(panels):
        _draw_panel(figure.add_subplot(grid[1 + i // _COLUMNS, i % _COLUMNS]), series)
    for axes in figure.axes:
        axes.set_xlim(0, max(entry.step for entry in entries))
    figure.savefig(path)


def _panels(entries: Sequence[Entry]) -> list[_Series]:
    """The evaluations other than the loss, the observed values, the sizes of growing batches."""
    evaluations = sorted({name for entry in entries for name in entry.evaluation} - {"loss"})
    observations = sorted({name for entry in entries for name in entry.observed})
    sizes = _series("batch size", GREY, entries, lambda entry: entry.batch_size or math.nan)
    return [
        *(_evaluated(name, entries) for name in evaluations),
        *(_observed(name, entries) for name in observations),
        sizes,
    ]


def _evaluated(name: str, entries: Sequence[Entry]) -> _Series:
    return _series(
        f"evaluation {name}", ORANGE, entries, lambda entry: entry.evaluation.get(name, math.nan)
    )


def _observed(name: str, entries: Sequence[Entry]) -> _Series:
    return _series(name, GREY, entries, lambda entry: entry.observed.get(name, math.nan))


def _series(
    name: str, color: str, entries: Sequence[Entry], value: Callable[[Entry], float]
) -> _Series:
    steps = np.array([entry.step for entry in entries])
    values = np.array([value(entry) for entry in entries], dtype=float)
    finite = np.isfinite(values)
    return _Series(name, color, steps[finite], values[finite])


def _draw_loss(axes: Axes, title: str, loss: _Series, evaluation: _Series) -> None:
    values = loss.values
    wide = _wide(values)
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


def _draw_panel(axes: Axes, series: _Series) -> None:
    few = len(series.steps) < 50
    axes.plot(
        series.steps,
        series.values,
        color=series.color,
        linewidth=1.0,
        marker="o" if few else "",
        markersize=2.5,
    )
    axes.set_title(series.name, fontsize=9, loc="left", color=GREY)
    if _wide(series.values):
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=_ROUND))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=_ROUND, integer=True))
    tidy(axes)


def _wide(values: np.ndarray) -> bool:
    return len(values) > 0 and bool(0 < values.min() * _WIDE < values.max())


def _smooth(values: np.ndarray) -> np.ndarray:
    """The mean over the fortieth of the values around each, over fewer near both ends.

    Both sides count alike, so that the curve does not lag behind.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(np.minimum(places, places[::-1]), len(values) // 80)
    means: np.ndarray = (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)
    return means
