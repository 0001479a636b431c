"""Fig. 6, 7: the three pixels, and what each affinity says of them."""

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.plots.style import COLOURS, MARKERS, new_axes, new_figure, save_figure
from experiments.plots.toy_pixels_numbers import IRREGULAR, PAIRS, PIXELS, Similarities

TITLES = {"dot": "dot product", "braycurtis": "Bray-Curtis", "boc": "BoC"}


def draw(
    features: np.ndarray, results: Sequence[Similarities], stem: pathlib.Path
) -> list[pathlib.Path]:
    """The pixels' features above, a table of similarities per metric below.

    The CSV holds the similarities; the pixels are in `experiments.plots.toy_pixels_numbers`.
    """
    figure = new_figure(7.0, 5.6)
    rows = figure.add_gridspec(2, len(results), height_ratios=(1.2, 1))
    axes = new_axes(figure, rows[0, :])
    channels = np.arange(1, features.shape[1] + 1)
    for index, (name, values) in enumerate(zip(PIXELS, features, strict=True)):
        axes.plot(
            channels,
            values,
            color=COLOURS[index],
            marker=MARKERS[index],
            linestyle=("-", "--", ":")[index],
            label=f"pixel {name}",
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
    header = ("metric", *(f"{PIXELS[i]}-{PIXELS[j]}" for i, j in PAIRS), "spread")
    return save_figure(
        figure,
        stem,
        header=header,
        rows=[(result.metric, *result.pairs, result.spread) for result in results],
    )


def _table(axes, result: Similarities) -> None:
    """The matrix as shaded cells; the diagonal, a pixel and itself, is left out."""
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
