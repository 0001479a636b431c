"""Fig. 5: whether the channels that vary most also separate instances best.

The channels are those that NCR keeps, with tokens L2-normalised over them as in the instance stage.
They are ranked as by DCR: by standard deviation over all tokens, highest first. The second curve is
the difference of a channel's means over two annotated instances, in absolute value, averaged over
all pairs of instances of the image. Both curves have the unit of the features.

The paper only draws the curves. Our reading: instances are the annotated ones on the grid, each
pair counts once whatever its sizes, and images count equally at each rank.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, MARKERS, new_plot, save_figure
from experiments.results.tables import mean
from specjax import Config, channel_deviation, reduce_features, valid_tokens

HEADER = ("rank", "deviation", "difference")
_LABELS = ("standard deviation", "mean difference between instances")


class ByRank(NamedTuple):
    """Two values per channel, highest standard deviation first."""

    deviation: Float[Array, " ranks"]  # over the image
    difference: Float[Array, " ranks"]  # mean over pairs of instances; 0 without a pair


@functools.partial(jax.jit, static_argnames=("config", "max_instances"))
def deviation_by_rank(
    features: Float[Array, "tokens channels"],
    grid: Int[Array, "2"],
    truth: Int[Array, " tokens"],
    *,
    config: Config,
    max_instances: int,
) -> ByRank:
    """Both curves of one image, over all M ranks; `truth` is 1 to `max_instances`, or 0."""
    valid = valid_tokens(features.shape[0], grid)
    # With N = M and nothing masked, DCR only sorts.
    ranked = reduce_features(features, valid, grid, config=dataclasses.replace(config, N=config.M))
    deviation = channel_deviation(ranked, valid=valid)
    return ByRank(deviation, _mean_difference(ranked, truth, max_instances))


def _mean_difference(
    features: Float[Array, "tokens channels"], truth: Int[Array, " tokens"], max_instances: int
) -> Float[Array, " channels"]:
    """Mean over pairs of instances of the absolute difference of their means, by channel."""
    member = truth[None, :] == jnp.arange(1, max_instances + 1)[:, None]
    size = jnp.sum(member, axis=1)
    total = jnp.matmul(member.astype(features.dtype), features, precision=jax.lax.Precision.HIGHEST)
    means = total / jnp.maximum(size, 1).astype(features.dtype)[:, None]
    present = size > 0
    pair = present[:, None] & present[None, :] & ~jnp.eye(max_instances, dtype=bool)

    def total_difference(channel: Float[Array, " instances"]) -> Float[Array, ""]:
        return jnp.sum(jnp.abs(channel[:, None] - channel[None, :]), where=pair)

    return jax.lax.map(total_difference, means.T) / jnp.maximum(jnp.sum(pair), 1).astype(
        features.dtype
    )


def average_by_rank(lines: Sequence[dict]) -> list[tuple[int, float, float]]:
    """Means over images with two or more instances: a row of `HEADER` per rank, from 1 on.

    `lines` hold "num_instances" and the lists "deviation" and "difference".
    """
    lines = [line for line in lines if line["num_instances"] >= 2]
    curves = (map(mean, zip(*(line[key] for line in lines), strict=True)) for key in HEADER[1:])
    return [(rank, *values) for rank, values in enumerate(zip(*curves, strict=True), start=1)]


def draw(rows: Sequence[tuple[int, float, float]], *, N: int) -> Figure:
    """Curves of the rows of `average_by_rank`; a line marks the last channel that DCR keeps."""
    figure, axes = new_plot()
    ranks, *curves = zip(*rows, strict=True) if rows else [()] * 3
    for index, (label, curve) in enumerate(zip(_LABELS, curves, strict=True)):
        axes.plot(
            ranks,
            curve,
            label=label,
            color=COLOURS[index],
            marker=MARKERS[index],
            markersize=4,
            markevery=max(len(rows) // 16, 1),
        )
    if rows:
        axes.axvline(N, color="black", linestyle="--", linewidth=1)
        axes.text(N, 0, f" N = {N}", va="bottom")
        figure.legend(loc="outside upper center", ncols=2)
    else:
        axes.text(0.5, 0.5, "no image with two instances", transform=axes.transAxes, ha="center")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rank of the channel, by standard deviation, of those that NCR keeps")
    axes.set_ylabel("value (tokens have unit length)")
    return figure


def write(folder: pathlib.Path, lines: Sequence[dict], *, N: int) -> list[pathlib.Path]:
    """Write the figure of a run's lines as `deviation.*`; returns the paths."""
    rows = average_by_rank(lines)
    return save_figure(draw(rows, N=N), folder / "deviation", header=HEADER, rows=rows)
