"""Fig. 2: the best single channel beside the method, by number of instances."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.plots.style import COLOURS, new_axes, new_figure, save_figure

_SERIES = (
    ("best_channel_miou", "best single channel (an oracle)", COLOURS[1], "//"),
    ("method_miou", "the method", COLOURS[0], ""),
)
_WIDTH = 0.38


def draw(rows: Sequence[Mapping[str, Any]], stem: pathlib.Path) -> list[pathlib.Path]:
    """Bars of the rows of `experiments.plots.channel_oracle_numbers.by_number_of_instances`."""
    figure = new_figure()
    axes = new_axes(figure)
    for side, (key, label, colour, hatch) in zip((-0.5, 0.5), _SERIES, strict=True):
        there = [(place, row[key]) for place, row in enumerate(rows) if row[key] is not None]
        bars = axes.bar(
            [place + side * _WIDTH for place, _ in there],
            [100 * value for _, value in there],
            _WIDTH,
            label=label,
            color=colour,
            hatch=hatch,
            edgecolor="white",
        )
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    axes.set_xticks(
        range(len(rows)), [f"{row['instances']}\n({_images(row['images'])})" for row in rows]
    )
    axes.set_xlim(-0.6, len(rows) - 0.4)
    highest = max((row[key] or 0 for row in rows for key, *_ in _SERIES), default=0)
    axes.set_ylim(0, min(120 * highest, 105) or 100)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel("annotated instances in the image")
    axes.set_ylabel("mIoU (%)")
    figure.legend(loc="outside upper center", ncols=2)
    keys = ("instances", "images", "best_channel_miou", "method_miou")
    return save_figure(
        figure, stem, header=keys, rows=[[row[key] for key in keys] for row in rows]
    )


def _images(count: int) -> str:
    return f"{count or 'no'} image{'' if count == 1 else 's'}"
