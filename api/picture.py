"""Pictures of schedules. The one module of `api` that needs the extra `train`."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

BLUE, ORANGE, GREY = "#2a6fbb", "#d9730d", "#5f6368"
_COLORS = (BLUE, ORANGE, "#2e8b57", "#8e44ad", "#c0392b", "#7f8c1f", "#16808a", GREY)
_DASHES = ("-", "--", ":", "-.")
_LABEL = 76
"""A longer name is cut in the legend."""


def draw(schedules: Mapping[str, NDArray[np.float64]]) -> Figure:
    """The rates of steps 1, 2, ... of each schedule, by name, in one picture."""
    legend = len(schedules) > 1
    figure = Figure(
        figsize=(8.0, 3.4 + 0.22 * len(schedules) * legend), dpi=150, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, rates) in enumerate(schedules.items()):
        axes.plot(
            np.arange(1, len(rates) + 1),
            rates,
            color=_COLORS[number % len(_COLORS)],
            linestyle=_DASHES[number // len(_COLORS) % len(_DASHES)],
            linewidth=1.8,
            marker="o" if len(rates) <= 20 else "",
            markersize=3.5,
            label=_short(name),
        )
    if legend:
        figure.legend(frameon=False, fontsize=9, loc="outside upper left")
    elif schedules:
        axes.set_title(_short(next(iter(schedules))), fontsize=10, loc="left", pad=10)
    longest = max((len(rates) for rates in schedules.values()), default=1)
    axes.set_xlim(1, max(longest, 2))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.0), high)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    axes.set_xlabel("step", color=GREY)
    tidy(axes)
    return figure


def tidy(axes: Axes) -> None:
    """The look that all pictures share: few lines, a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e6e8", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=GREY)


def _short(name: str) -> str:
    # Matplotlib reads `$...$` as mathematics, and leaves out a label that begins with `_`.
    text = " ".join(name.split()).replace("$", r"\$")
    text = text if len(text) <= _LABEL else f"{text[: _LABEL - 3]}..."
    return f" {text}" if text.startswith("_") else text
