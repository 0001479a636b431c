"""Fig. 11 and 12: mIoU by metric and by stratum of overlap or size, with published numbers."""

import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, new_plot, percent, save_figure
from experiments.results.strata import NAMES, STRATA

HEADER = ("metric", "stratum", "low", "high", "images", "miou_percent", "published_percent")
_HATCHES = ("", "//", "..")
_GROUP = 0.8  # width of a group of bars; the distance between two metrics is 1


def rows(results: Sequence[dict], measure: str) -> list[tuple[Any, ...]]:
    """One row of `HEADER` per metric and stratum; None if there is no image or no number."""
    found = []
    for result in results:
        for stratum, entry in zip(STRATA[measure], result[f"by_{measure}"], strict=True):
            scores = [percent(entry[key]) for key in ("miou", "published")]
            found.append((result["metric"], str(stratum), *stratum, entry["images"], *scores))
    return found


def draw(table: Sequence[tuple[Any, ...]], measure: str) -> Figure:
    """Bars for this run, in a group for each metric; short lines for published numbers."""
    metrics = list(dict.fromkeys(row[0] for row in table))
    names = [str(stratum) for stratum in STRATA[measure]]
    figure, axes = new_plot(max(6.0, 1.1 * len(metrics)), x="metric", y="mIoU (%)")
    width = _GROUP / len(names)
    for index, name in enumerate(names):
        bars = [row for row in table if row[1] == name]
        places = [metrics.index(row[0]) - _GROUP / 2 + (index + 0.5) * width for row in bars]
        images = [row[4] for row in bars]
        ends = " to ".join(map(str, sorted({min(images), max(images)})))
        counted = f"images: {ends}" if any(images) else "no image"
        axes.bar(
            places,
            [row[5] or 0.0 for row in bars],
            width,
            label=f"{NAMES[measure]} {name} ({counted})",
            color=COLOURS[index],
            hatch=_HATCHES[index],
            edgecolor="white",
        )
        known = [(place, row[6]) for place, row in zip(places, bars, strict=True) if row[6]]
        for number, (place, value) in enumerate(known):
            label = "published, YouTube-VIS 2019" if index == number == 0 else None
            line = [place - width / 2, place + width / 2]
            axes.plot(line, [value, value], color="black", linewidth=2, label=label)
    axes.set_xticks(range(len(metrics)), metrics, rotation=30, ha="right")
    axes.grid(False, axis="x")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def write(folder: pathlib.Path, results: Sequence[dict]) -> list[pathlib.Path]:
    """Write `strata_mbor.*` and `strata_size_ratio.*`, if strata have images; returns the paths."""
    written = []
    for measure in STRATA:
        table = rows(results, measure)
        if any(row[4] for row in table):
            stem = folder / f"strata_{measure}"
            written += save_figure(draw(table, measure), stem, header=HEADER, rows=table)
    return written
