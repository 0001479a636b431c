"""Fig. 13: how evenly a metric sees instances: mR, intra- over inter-instance variance.

The paper defines mR in one line. Our reading, for each image with at least two annotated instances:

- The features are F'' of the instance stage (M channels by entropy, tokens L2-normalised over them,
  N of these by standard deviation), but with the annotated foreground in place of the predicted
  one, so that no sampled token is zero.
- From each instance's tokens on the grid, ten are drawn without replacement, or all if there are no
  more. The draw depends only on the seed and the image's id.
- Similarities are those of all pairs of drawn tokens under a metric, not divided by the largest.
  For Mahalanobis, the covariance is that of the whole F'', zero rows included, as in the method.
- Intra is the variance over the distinct pairs of tokens of one instance, averaged over instances
  with at least three drawn tokens. Inter is the variance over all pairs of tokens of different
  instances.

mR is the mean of intra over images divided by the mean of inter over images. If it is low,
similarities within an instance vary little compared with those between instances.
"""

import functools
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from matplotlib.figure import Figure

from experiments.plots.style import COLOURS, new_plot, save_figure
from experiments.results.tables import mean
from specjax import affinity_matrix, similarity_variance_ratio

HEADER = ("metric", "mr", "intra", "inter", "images", "images_left_out")
TOKENS_PER_INSTANCE = 10


def sample_tokens(
    instances: np.ndarray, generator: np.random.Generator, *, max_instances: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ten random tokens of each instance 1 to `max_instances`, or all if there are fewer.

    Returns their places and their instances, int32 [10 x max_instances]; unused entries have
    instance 0.
    """
    places = np.zeros(TOKENS_PER_INSTANCE * max_instances, np.int32)
    owners = np.zeros_like(places)
    count = 0
    for number in range(1, max_instances + 1):
        tokens = np.flatnonzero(instances == number)
        if tokens.size > TOKENS_PER_INSTANCE:
            tokens = np.sort(generator.choice(tokens, TOKENS_PER_INSTANCE, replace=False))
        places[count : count + tokens.size] = tokens
        owners[count : count + tokens.size] = number
        count += tokens.size
    return places, owners


def generator_of(seed: int, image_id: str) -> np.random.Generator:
    """A generator for one image, so that the draw does not depend on the images before it."""
    return np.random.default_rng([seed, zlib.crc32(image_id.encode())])


@functools.partial(jax.jit, static_argnames=("metric", "max_instances"))
def sampled_variances(
    reduced: Float[Array, "tokens channels"],
    valid: Bool[Array, " tokens"],
    places: Int[Array, " drawn"],
    owners: Int[Array, " drawn"],
    *,
    metric: str,
    max_instances: int,
) -> NamedTuple:
    """`specjax.similarity_variance_ratio` of the tokens at `places`.

    `reduced` is F'', which is zero where no instance is annotated.
    """
    drawn = affinity_matrix(reduced, metric=metric, valid=valid)[places][:, places]
    return similarity_variance_ratio(drawn, owners, max_instances=max_instances)


def ratio_over_images(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mR of a metric and its two means, over the images in which both are defined.

    `lines` hold "intra" and "inter", which are None if not defined. mR is None if there is no
    image, or if similarities between instances do not vary.
    """
    defined = [line for line in lines if line["intra"] is not None]
    intra, inter = (mean(line[key] for line in defined) for key in ("intra", "inter"))
    mr = intra / inter if intra is not None and inter else None
    ratio = {"mr": mr, "intra": intra, "inter": inter}
    return {**ratio, "images": len(defined), "images_left_out": len(lines) - len(defined)}


def draw(results: Sequence[Mapping[str, Any]]) -> Figure:
    """A bar for each metric, in the given order; a result has `ratio_over_images` and "metric"."""
    figure, axes = new_plot(6.0, 0.35 * len(results) + 1.2)
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
    return figure


def write(folder: pathlib.Path, results: Sequence[Mapping[str, Any]]) -> list[pathlib.Path]:
    """Write the figure as `variance.*`; returns the paths."""
    rows = [[result[key] for key in HEADER] for result in results]
    return save_figure(draw(results), folder / "variance", header=HEADER, rows=rows)
