"""Fig. 8 and 9: F-score by number of channels, with and without post-processing."""

import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, MARKERS, new_plot, percent, save_figure
from experiments.results import published

HEADER = ("source", "share_of_channels", "M", "f_score_percent", "f_score_raw_percent")
_OURS = "this run"
_PUBLISHED = {"ytvis": "YouTube-VIS (paper)", "voc": "PASCAL VOC (paper)"}
_PAPERS_CHANNELS = 384  # of DINO ViT-S/16


def rows(results: Sequence[dict], channels: int) -> list[tuple[Any, ...]]:
    """One row of `HEADER` per source and number of channels, most channels first.

    The rows of the run come first, without results that have no score. M is also given as a share
    of all C channels, so that backbones of different widths can be compared; if Table I has a share
    that gives this M, it is that share.
    """
    found = []
    for result in sorted(results, key=lambda result: -result["M"]):
        if result["f_score"] is not None:
            share = published.share_of(result["M"], channels) or result["M"] / channels
            measured = (result["f_score"], result["f_score_raw"])
            found.append((_OURS, float(share), result["M"], *map(percent, measured)))
    for dataset, name in _PUBLISHED.items():
        for share, scores in sorted(published.F_SCORES[dataset].items(), reverse=True):
            M = int(share * _PAPERS_CHANNELS)
            found.append((name, float(share), M, *map(percent, scores)))
    return found


def draw(table: Sequence[tuple[Any, ...]], channels: int) -> Figure:
    """A colour for each source: our run solid, the paper dashed; hollow without post-processing."""
    figure, axes = new_plot(7.5, 5.0, x="channels kept, M (of C; logarithmic)", y="F-score (%)")
    for index, source in enumerate(dict.fromkeys(row[0] for row in table)):
        points = [row for row in table if row[0] == source]
        colour, line = COLOURS[index], "-" if source == _OURS else "--"
        for column, fill, kind in ((3, colour, "with"), (4, "white", "without")):
            axes.plot(
                [row[1] for row in points],
                [row[column] for row in points],
                label=f"{source}, {kind}",
                color=colour,
                marker=MARKERS[index],
                markerfacecolor=fill,
                linestyle=line,
            )
    axes.set_xscale("log")
    shares = sorted({row[1] for row in table})
    axes.set_xticks(shares, [tick(share, channels) for share in shares], rotation=60)
    axes.set_xticks([], minor=True)
    axes.invert_xaxis()
    title = "with and without post-processing"
    figure.legend(loc="outside upper center", ncols=3, frameon=False, title=title, fontsize="small")
    return figure


def tick(share: float, channels: int) -> str:
    """A share as the paper writes it, such as 3C/4; as M if the paper does not have it."""
    known = next((known for known in published.F_SCORES["ytvis"] if float(known) == share), None)
    if known is None:
        return f"M={round(share * channels)}"
    numerator = "" if known.numerator == 1 else str(known.numerator)
    return f"{numerator}C" if known.denominator == 1 else f"{numerator}C/{known.denominator}"


def write(folder: pathlib.Path, results: Sequence[dict], channels: int) -> list[pathlib.Path]:
    """Write `foreground_curve.*` if two or more results have scores; returns the paths."""
    table = rows(results, channels)
    if sum(row[0] == _OURS for row in table) < 2:
        return []
    stem = folder / "foreground_curve"
    return save_figure(draw(table, channels), stem, header=HEADER, rows=table)
