"""MIoU over M, the number of channels that NCR keeps, and N, the number that DCR keeps."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, new_figure, percent, save_figure

HEADER = ("M", "N", "images", "miou_percent")


def rows(results: Sequence[dict]) -> list[tuple[Any, ...]]:
    """One row of `HEADER` per result, sorted by M and N; mIoU is None if nothing was scored."""
    keys = ("M", "N", "images")
    return sorted((*(result[key] for key in keys), percent(result["miou"])) for result in results)


def grid(table: Sequence[tuple[Any, ...]]) -> tuple[list[int], list[int], np.ndarray]:
    """M and N in ascending order, and the mIoU in percent, [M, N]; NaN where it is missing."""
    Ms, Ns = (sorted({row[index] for row in table}) for index in (0, 1))
    values = np.full((len(Ms), len(Ns)), np.nan)
    for M, N, _, miou in table:
        if miou is not None:
            values[Ms.index(M), Ns.index(N)] = miou
    return Ms, Ns, values


def draw(table: Sequence[tuple[Any, ...]]) -> Figure:
    """The map with its numbers; the highest is framed, missing ones have a cross."""
    Ms, Ns, values = grid(table)
    figure = new_figure(max(4.5, 1.8 + 0.8 * len(Ns)), max(3.2, 1.4 + 0.55 * len(Ms)))
    axes = figure.add_subplot()
    axes.grid(False)
    # A colour map that is legible in grey and to the colour-blind.
    picture = axes.imshow(values, cmap="cividis", origin="lower", aspect="auto")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    best = np.unravel_index(np.nanargmax(values), values.shape)
    for (row, column), value in np.ndenumerate(values):
        missing = np.isnan(value)
        text = "\N{MULTIPLICATION SIGN}" if missing else f"{value:.2f}"
        colour = "black" if missing or value > middle else "white"
        weight = "bold" if (row, column) == best else "normal"
        axes.text(column, row, text, color=colour, fontweight=weight, ha="center", va="center")
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * 0.46
    axes.plot(best[1] + corners[:, 0], best[0] + corners[:, 1], color=COLOURS[1], linewidth=2)
    axes.set_xticks(range(len(Ns)), map(str, Ns))
    axes.set_yticks(range(len(Ms)), map(str, Ms))
    remark = "; \N{MULTIPLICATION SIGN}: no result" if np.isnan(values).any() else ""
    axes.set_xlabel(f"N (channels kept by standard deviation){remark}")
    axes.set_ylabel("M (channels kept by entropy)")
    figure.colorbar(picture, label="mIoU (%)")
    return figure


def write(folder: pathlib.Path, results: Sequence[dict]) -> list[pathlib.Path]:
    """Write the figure as `heat_map.*`, if anything was scored; returns the paths."""
    table = rows(results)
    if all(row[3] is None for row in table):
        return []
    return save_figure(draw(table), folder / "heat_map", header=HEADER, rows=table)
