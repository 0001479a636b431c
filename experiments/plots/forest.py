"""Means with their intervals, one line for each setting, beside the published numbers."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, new_plot, percent, save_figure

HEADER = ("setting", "mean_percent", "low_percent", "high_percent", "published_percent")
_LONGEST = 24  # characters of a name; a longer one would not leave room for the plot


class Row(NamedTuple):
    """A setting's mean, its bounds if any, and the published number if any; all fractions."""

    setting: str
    mean: float
    low: float | None
    high: float | None
    published: float | None


def draw(rows: Sequence[Row], *, score: str, level: float) -> Figure:
    """A point and a bar for each row, from the top; diamonds are published. Fits on a phone."""
    figure, axes = new_plot(4.6, 0.3 * len(rows) + 1.4, x=f"{score} (%)")
    places = range(len(rows))
    label = f"this run, with {100 * level:.0f} % interval"
    axes.plot([100 * row.mean for row in rows], places, "o", color=COLOURS[0], label=label)
    for place, row in zip(places, rows, strict=True):
        if row.low is not None and row.high is not None:
            ends = [100 * row.low, 100 * row.high]
            axes.plot(ends, [place, place], color=COLOURS[0], linewidth=2)
    if known := [(100 * row.published, place) for place, row in enumerate(rows) if row.published]:
        means, heights = zip(*known, strict=True)
        axes.plot(means, heights, "D", color=COLOURS[1], markerfacecolor="white", label="published")
    names = [name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…" for name, *_ in rows]
    # A dollar sign would start a formula.
    axes.set_yticks(places, [name.replace("$", r"\$") for name in names])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def write(
    stem: pathlib.Path, rows: Sequence[Row], *, score: str, level: float
) -> list[pathlib.Path]:
    """Write the figure as PNG and SVG, and its numbers as CSV; returns the paths."""
    table = [(row.setting, *map(percent, row[1:])) for row in rows]
    return save_figure(draw(rows, score=score, level=level), stem, header=HEADER, rows=table)
