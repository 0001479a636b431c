"""Fig. 6, 7: three pixels of one instance, two of them irregular in a few channels.

The pixels are equal except in the irregular channels. An affinity that suits instances should find
all pairs about equally similar. The dot product finds the two pixels that are irregular together
far more similar than the other pairs. The numbers are ours: the paper draws its pixels without
values.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, MARKERS, new_axes, new_figure, save_figure
from specjax import affinity_matrix

PIXELS = ("a", "b", "c")
PAIRS = ((0, 1), (0, 2), (1, 2))
HEADER = ("metric", *(f"{PIXELS[i]}-{PIXELS[j]}" for i, j in PAIRS), "spread")
TITLES = {"dot": "dot product", "braycurtis": "Bray-Curtis", "boc": "BoC"}
IRREGULAR = (2, 5)  # where b or c differs from a
_LINES = ("-", "--", ":")
_COMMON = (0.2, 0.3, 0.1, 0.2, 0.3, 0.1, 0.2, 0.2)


class Similarities(NamedTuple):
    """The similarities of the pixels under one metric.

    The spread is the standard deviation (divisor n) of the pairs divided by their mean: 0 if the
    metric finds all three pairs equally similar. It does not depend on the scale of the metric.
    """

    metric: str
    matrix: Float[np.ndarray, "3 3"]
    pairs: tuple[float, ...]  # of `PAIRS`
    spread: float


def pixels() -> Float[np.ndarray, "3 8"]:
    """The features, float32: a is regular; b and c are irregular in the channels `IRREGULAR`."""
    values = np.array([_COMMON] * len(PIXELS), np.float32)
    values[1, IRREGULAR] = 0.9, 0.7
    values[2, IRREGULAR] = 0.8, 0.9
    return values


def similarities(features: Float[np.ndarray, "3 channels"]) -> list[Similarities]:
    """The similarities of the pixels under each metric of `TITLES`."""
    result = []
    for metric in TITLES:
        matrix = np.asarray(affinity_matrix(jnp.asarray(features), metric=metric))
        pairs = tuple(float(matrix[pair]) for pair in PAIRS)
        result.append(Similarities(metric, matrix, pairs, float(np.std(pairs) / np.mean(pairs))))
    return result


def draw(features: Float[np.ndarray, "3 channels"], results: Sequence[Similarities]) -> Figure:
    """The pixels' features above, a table of similarities per metric below."""
    figure = new_figure(7.0, 5.6)
    rows = figure.add_gridspec(2, len(results), height_ratios=(1.2, 1))
    axes = new_axes(figure, rows[0, :])
    channels = np.arange(1, features.shape[1] + 1)
    for index, (name, values) in enumerate(zip(PIXELS, features, strict=True)):
        axes.plot(
            channels,
            values,
            label=f"pixel {name}",
            color=COLOURS[index],
            marker=MARKERS[index],
            linestyle=_LINES[index],
        )
    for channel in IRREGULAR:
        axes.axvspan(channel + 0.7, channel + 1.3, color="black", alpha=0.08, linewidth=0)
    axes.set_ylim(0, 1)
    axes.set_xticks(channels)
    axes.set_xlabel("channel (shaded: irregular values)")
    axes.set_ylabel("feature value (no unit)")
    figure.legend(loc="outside upper center", ncols=len(PIXELS))
    for column, result in enumerate(results):
        _table(new_axes(figure, rows[1, column]), result)
    return figure


def write(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write the figure as `toy.*`, with the similarities as CSV; returns the paths."""
    results = similarities(pixels())
    rows = [(result.metric, *result.pairs, result.spread) for result in results]
    return save_figure(draw(pixels(), results), folder / "toy", header=HEADER, rows=rows)


def _table(axes: Axes, result: Similarities) -> None:
    """The matrix as shaded cells, without the diagonal."""
    shade = result.matrix / max(result.pairs)
    between = ~np.eye(len(PIXELS), dtype=bool)
    axes.imshow(np.where(between, shade, np.nan), cmap="Blues", vmin=0, vmax=2)
    for i, j in zip(*np.nonzero(between), strict=True):
        axes.text(j, i, f"{result.matrix[i, j]:.3f}", ha="center", va="center")
    axes.set_xticks(range(len(PIXELS)), PIXELS)
    axes.set_yticks(range(len(PIXELS)), PIXELS)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{TITLES[result.metric]}\nstd / mean {100 * result.spread:.1f} %", fontsize=10)
