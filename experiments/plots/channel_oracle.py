"""Fig. 2: the best single channel beside the method, by number of instances.

For every channel, the tokens of the foreground are clustered by their value in that channel, and
the clusters are scored as instances. The best channel of an image is the one with the highest
score. As this choice needs the annotation, it is an upper bound for single channels, not a method.

The paper only gives the result. Our reading: all C channels compete, with the values that the
backbone returns (neither normalised nor filtered); the foreground is that of the method, after
post-processing; k-means finds as many clusters as there are annotated instances on the grid.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key
from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, new_plot, save_figure
from experiments.results.tables import mean
from specjax import instance_scores, kmeans

HEADER = ("instances", "images", "best_channel_miou", "method_miou")
STRATA = ("2", "3", "4", "5+")  # numbers of instances; the last includes all larger ones
# Channels clustered at once: enough to keep the processor busy, and they fit in its cache.
_AT_ONCE = 16
_SERIES = {
    "best_channel_miou": ("best single channel (an oracle)", COLOURS[1], "//"),
    "method_miou": ("the method", COLOURS[0], ""),
}
_WIDTH = 0.38


@functools.partial(jax.jit, static_argnames=("max_instances", "capacity", "restarts"))
def channel_mious(
    features: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    truth: Int[Array, " tokens"],
    counted: Bool[Array, " tokens"],
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    max_instances: int,
    capacity: int,
    restarts: int = 10,
) -> Float[Array, " channels"]:
    """The image's mIoU when each channel alone splits the foreground, in [0, 1].

    Tokens that are not `counted` do not affect the score. The starts of k-means are the same for
    all channels. `max_instances` is a static upper bound of the numbers of instances and clusters,
    `capacity` of the number of foreground tokens; beyond it the result is undefined.
    """
    capacity = min(capacity, features.shape[0])
    # Missing entries point behind the last token, where nothing is read.
    index = jnp.nonzero(foreground, size=capacity, fill_value=features.shape[0])[0]
    present = jnp.arange(capacity) < jnp.sum(foreground)
    values = jnp.where(present[:, None], features.at[index].get(mode="fill", fill_value=0.0), 0.0)

    def score(channel: Float[Array, "members 1"]) -> Float[Array, ""]:
        clusters = kmeans(
            channel, num_instances, key, max_clusters=max_instances, mask=present, restarts=restarts
        )
        labels = jnp.zeros(features.shape[0], clusters.labels.dtype)
        labels = labels.at[index].set(clusters.labels + 1, mode="drop")
        return instance_scores(labels, truth, counted=counted, max_instances=max_instances).mean

    return jax.lax.map(score, values.T[:, :, None], batch_size=_AT_ONCE)


def by_number_of_instances(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each stratum with the means over its images; `None` if it has no image.

    `lines` hold "num_instances", "best_channel_miou" and "method_miou". Images with fewer than two
    instances, in which there is nothing to split, are in no stratum.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {stratum: [] for stratum in STRATA}
    for line in lines:
        if line["num_instances"] >= 2:
            groups[STRATA[min(line["num_instances"], 1 + len(STRATA)) - 2]].append(line)
    rows = []
    for stratum, group in groups.items():
        means = {key: mean(line[key] for line in group) for key in _SERIES}
        rows.append({"instances": stratum, "images": len(group), **means})
    return rows


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Bars of the rows of `by_number_of_instances`."""
    figure, axes = new_plot(x="annotated instances in the image", y="mIoU (%)")
    for side, (key, (label, colour, hatch)) in zip((-0.5, 0.5), _SERIES.items(), strict=True):
        known = [(place, row[key]) for place, row in enumerate(rows) if row[key] is not None]
        places = [place + side * _WIDTH for place, _ in known]
        heights = [100 * value for _, value in known]
        bars = axes.bar(
            places, heights, _WIDTH, label=label, color=colour, hatch=hatch, edgecolor="white"
        )
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    names = [f"{row['instances']}\n({_images(row['images'])})" for row in rows]
    axes.set_xticks(range(len(rows)), names)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    highest = max((row[key] or 0 for row in rows for key in _SERIES), default=0)
    axes.set_ylim(0, min(120 * highest, 105) or 100)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def write(folder: pathlib.Path, lines: Sequence[Mapping[str, Any]]) -> list[pathlib.Path]:
    """Write the figure of a run's lines as `oracle.*`; returns the paths."""
    rows = by_number_of_instances(lines)
    table = [[row[key] for key in HEADER] for row in rows]
    return save_figure(draw(rows), folder / "oracle", header=HEADER, rows=table)


def _images(count: int) -> str:
    return f"{count or 'no'} image{'' if count == 1 else 's'}"
