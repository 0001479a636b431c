"""Means with their intervals, one line each, beside the published numbers."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, new_plot, percent, save_figure

HEADER = ("setting", "mean_percent", "low_percent", "high_percent", "published_percent")
# Characters of a name that leave room for the plot.
_LONGEST = 24


class Row(NamedTuple):
    """A setting's mean, its bounds where there are any, and the published number; fractions."""

    setting: str
    mean: float
    low: float | None
    high: float | None
    published: float | None


def draw(rows: Sequence[Row], *, score: str, level: float) -> Figure:
    """A point and a bar for each row, from the top in their order; diamonds for the published.

    Narrow enough to be read on a phone.
    """
    figure, axes = new_plot(4.6, 0.3 * len(rows) + 1.4)
    places = range(len(rows))
    label = f"here, with {100 * level:.0f} % interval"
    axes.plot([100 * row.mean for row in rows], places, "o", color=COLOURS[0], label=label)
    for place, row in zip(places, rows, strict=True):
        if row.low is not None:
            ends = [100 * row.low, 100 * row.high]
            axes.plot(ends, [place, place], color=COLOURS[0], linewidth=2)
    known = [(100 * row.published, place) for place, row in enumerate(rows) if row.published]
    if known:
        style = {"color": COLOURS[1], "markerfacecolor": "white", "label": "published"}
        axes.plot(*zip(*known, strict=True), "D", **style)
    axes.set_yticks(places, [_label(row.setting) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{score} (%)")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def write(
    stem: pathlib.Path, rows: Sequence[Row], *, score: str, level: float
) -> list[pathlib.Path]:
    """The figure as PNG and SVG, and its numbers as CSV; returns the paths."""
    table = [(row.setting, *map(percent, row[1:])) for row in rows]
    return save_figure(draw(rows, score=score, level=level), stem, header=HEADER, rows=table)


def _label(setting: str) -> str:
    short = setting if len(setting) <= _LONGEST else setting[: _LONGEST - 1] + "…"
    # A dollar would start a formula.
    return short.replace("$", r"\$")
