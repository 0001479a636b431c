"""Fig. 5: standard deviation by rank beside the difference between instances."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.plots.style import COLOURS, MARKERS, new_axes, new_figure, save_figure

_SERIES = (
    ("deviation", "standard deviation"),
    ("difference", "mean difference between instances"),
)


def draw(rows: Sequence[Mapping[str, Any]], stem: pathlib.Path, *, N: int) -> list[pathlib.Path]:
    """Curves of the rows of `experiments.plots.channel_deviation_numbers.average_by_rank`.

    A line marks the last channel that DCR keeps.
    """
    figure = new_figure()
    axes = new_axes(figure)
    ranks = [row["rank"] for row in rows]
    for index, (key, label) in enumerate(_SERIES):
        axes.plot(
            ranks,
            [row[key] for row in rows],
            color=COLOURS[index],
            marker=MARKERS[index],
            markersize=4,
            markevery=max(len(rows) // 16, 1),
            label=label,
        )
    if rows:
        axes.axvline(N, color="black", linestyle="--", linewidth=1)
        axes.text(N, 0, f" N = {N}", va="bottom")
        figure.legend(loc="outside upper center", ncols=2)
    else:
        axes.text(0.5, 0.5, "no image of two instances", transform=axes.transAxes, ha="center")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rank of the channel, by standard deviation, of those that NCR keeps")
    axes.set_ylabel("value (tokens have unit length)")
    return save_figure(
        figure,
        stem,
        header=("rank", "deviation", "difference"),
        rows=[(row["rank"], row["deviation"], row["difference"]) for row in rows],
    )
