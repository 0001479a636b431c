"""Fig. 13: mR by metric."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.plots.style import COLOURS, new_axes, new_figure, save_figure


def draw(results: Sequence[Mapping[str, Any]], stem: pathlib.Path) -> list[pathlib.Path]:
    """A bar per metric, in the order given, from `ratio_over_images` and the metric's name."""
    figure = new_figure(6.0, 0.35 * len(results) + 1.2)
    axes = new_axes(figure)
    for place, result in enumerate(results):
        if result["mr"] is None:
            axes.text(0, place, " not defined", va="center", fontsize=9)
            continue
        bar = axes.barh(place, result["mr"], color=COLOURS[0])
        axes.bar_label(bar, fmt="%.3f", padding=3, fontsize=9)
    axes.set_yticks(range(len(results)), [result["metric"] for result in results])
    axes.invert_yaxis()
    # Room for the labels.
    axes.set_xlim(0, 1.15 * max((result["mr"] or 0 for result in results), default=0) or 1)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    images = max((result["images"] for result in results), default=0)
    axes.set_xlabel(f"mR: variance within instances / between them ({images} images)")
    keys = ("metric", "mr", "intra", "inter", "images", "images_left_out")
    return save_figure(
        figure, stem, header=keys, rows=[[result[key] for key in keys] for result in results]
    )
