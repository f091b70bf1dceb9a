"""The small pictures below a run's loss: numbers as a line, tensors as lines, spectra as images."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, MaxNLocator

from ...api.picture import GREY, ORANGE, tidy
from .metrics import Entry

_WIDE = 100.0
"""What changes by more than this factor is drawn on a logarithmic axis."""

_ROUND = [1, 2, 2.5, 5, 10]
"""Distances of ticks, up to a power of ten."""

_NAMED = 6
"""More tensors than these are not told apart by a legend."""

_ROWS = 96
"""How many rows the image of a spectrum has."""

_FAINT = 1e-5
"""A share of a spectrum below this is background: a few of a hundred thousand eigenvalues."""


class Panel(Protocol):
    """One quantity over a run."""

    @property
    def steps(self) -> np.ndarray:
        """The steps at which it is known."""

    def draw(self, axes: Axes) -> None:
        """Draw it."""


@dataclass(frozen=True)
class Numbers:
    """The finite values of one quantity, and their steps."""

    name: str
    color: str
    steps: np.ndarray
    values: np.ndarray

    def draw(self, axes: Axes) -> None:
        """A line, with its points where there are few."""
        few = len(self.steps) < 50
        axes.plot(
            self.steps,
            self.values,
            color=self.color,
            linewidth=1.0,
            marker="o" if few else "",
            markersize=2.5,
        )
        _finish(axes, self.name, self.values)


@dataclass(frozen=True)
class Tensors:
    """A number for each tensor: a row for each step, a column for each path."""

    name: str
    paths: tuple[str, ...]
    steps: np.ndarray
    values: np.ndarray

    def draw(self, axes: Axes) -> None:
        """A line for each tensor, from dark to light in the order of the tensors."""
        few = len(self.steps) < 50
        shades = colormaps["viridis"](np.linspace(0.0, 0.9, len(self.paths)))
        for path, shade, column in zip(self.paths, shades, self.values.T, strict=True):
            axes.plot(
                self.steps,
                column,
                color=shade,
                linewidth=0.9,
                marker="o" if few else "",
                markersize=2.0,
                label=path,
            )
        count = len(self.paths)
        if count <= _NAMED:
            axes.legend(
                fontsize=6, labelspacing=0.2, handlelength=1.2, edgecolor="none", framealpha=0.7
            )
            _finish(axes, self.name, self.values)
        else:
            _finish(axes, f"{self.name}, {count} tensors", self.values)


@dataclass(frozen=True)
class Spectra:
    """The nodes and the weights of a spectrum: a row for each step."""

    name: str
    steps: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray

    def draw(self, axes: Axes) -> None:
        """An image: over each step, how much of the spectrum lies where."""
        low, high = float(self.nodes.min()), float(self.nodes.max())
        margin = 0.04 * (high - low) or 0.5
        edges = np.linspace(low - margin, high + margin, _ROWS + 1)
        centres = (edges[1:] + edges[:-1]) / 2
        width = 0.75 * (edges[1] - edges[0])
        # Each node as a bell: a node that wanders from row to row would flicker.
        away = (centres[None, :, None] - self.nodes[:, None, :]) / width
        share = np.sum(self.weights[:, None, :] * np.exp(-(away**2) / 2), axis=-1)
        image = axes.pcolormesh(
            _edges(self.steps),
            edges,
            np.maximum(share, _FAINT).T,
            cmap="Blues",
            norm=LogNorm(_FAINT, 1.0),
            rasterized=True,
        )
        _finish(axes, self.name, np.zeros(0))
        axes.grid(visible=False)
        scale = axes.inset_axes((1.02, 0.0, 0.025, 1.0))
        axes.figure.colorbar(image, cax=scale, ticks=LogLocator(10, numticks=4))
        scale.tick_params(labelsize=6, colors=GREY, which="both", length=0)
        scale.set_title("share", fontsize=6, color=GREY, loc="left")
        scale.spines[:].set_visible(False)


def panels_of(entries: Sequence[Entry]) -> list[Panel]:
    """The evaluations other than the loss, the observed values, the sizes of growing batches."""
    evaluations = sorted({name for entry in entries for name in entry.evaluation} - {"loss"})
    observations = sorted({name for entry in entries for name in entry.observed})
    found: list[Panel] = [evaluated(name, entries) for name in evaluations]
    found += [_observed(name, entries) for name in observations]
    sizes = numbers("batch size", GREY, entries, lambda entry: entry.batch_size or math.nan)
    return [*found, sizes]


def evaluated(name: str, entries: Sequence[Entry]) -> Numbers:
    """What the evaluations of a run found under a name."""
    return numbers(
        f"evaluation {name}", ORANGE, entries, lambda entry: entry.evaluation.get(name, math.nan)
    )


def numbers(
    name: str, color: str, entries: Sequence[Entry], value: Callable[[Entry], float]
) -> Numbers:
    """A quantity that is one number of each entry."""
    steps = np.array([entry.step for entry in entries])
    values = np.array([value(entry) for entry in entries], dtype=float)
    finite = np.isfinite(values)
    return Numbers(name, color, steps[finite], values[finite])


def is_wide(values: np.ndarray) -> bool:
    """Whether values are for a logarithmic axis."""
    return len(values) > 0 and bool(0 < values.min() * _WIDE < values.max())


def _observed(name: str, entries: Sequence[Entry]) -> Panel:
    found = [(e.step, e.observed[name]) for e in entries if name in e.observed]
    steps = np.array([step for step, _ in found])
    match found[0][1]:
        case float():
            return numbers(name, GREY, entries, lambda entry: entry.number(name))
        case Mapping() as first:
            rows = [list(value.values()) for _, value in found if isinstance(value, Mapping)]
            values = np.array(rows, float)
            values[np.isinf(values)] = math.nan
            # A tensor that never has a value, such as a bias among matrices, has no line.
            known, ever = np.isfinite(values).any(axis=1), np.isfinite(values).any(axis=0)
            paths = tuple(path for path, here in zip(first, ever, strict=True) if here)
            return Tensors(name, paths, steps[known], values[known][:, ever])
        case _:
            values = np.array([value for _, value in found], float)
            known = np.isfinite(values).all(axis=(1, 2))
            return Spectra(name, steps[known], values[known, 0], values[known, 1])


def _edges(steps: np.ndarray) -> np.ndarray:
    """The borders of columns that have the steps inside; a step is shown until the next one."""
    last = steps[-1] - steps[-2] if len(steps) > 1 else 1
    return np.append(steps, steps[-1] + last).astype(float)


def _finish(axes: Axes, name: str, values: np.ndarray) -> None:
    axes.set_title(name, fontsize=9, loc="left", color=GREY)
    if is_wide(values[np.isfinite(values)]):
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=_ROUND))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=_ROUND, integer=True))
    tidy(axes)
