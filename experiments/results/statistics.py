"""Confidence intervals of means over images, and tests of two settings on the same images.

The unit of both is what was sampled independently: an image, or a video with all its frames, as
these resemble each other. A sample holds, for each unit, the sum of a score over its images and
their number, so that the estimate is the mean over images for any units. Scores and differences are
float64 fractions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from experiments.datasets import VIDEOS

LEVEL = 0.95
RESAMPLES = 10_000
_LARGEST_BATCH = 2**22  # values in memory at once while resampling


class Sample(NamedTuple):
    """A score by unit: its sum over the unit's images and their number, both float64 `[units]`."""

    sums: np.ndarray
    counts: np.ndarray

    @property
    def mean(self) -> float:
        """The mean over images."""
        return float(self.sums.sum() / self.counts.sum())


class Interval(NamedTuple):
    """A mean and its 95 % interval; the bounds are None for fewer than two units."""

    mean: float
    low: float | None
    high: float | None


class Comparison(NamedTuple):
    """One setting minus another, on the images that both have."""

    difference: Interval  # of the means over images
    p: float | None  # of the two-sided sign-flip test; None for fewer than two units
    p_adjusted: float | None  # with Holm's correction for all comparisons made together
    images: int
    units: int


def kind_of_units(dataset: str) -> str:
    """What was sampled independently in a dataset of this format: "videos" or "images"."""
    return "videos" if dataset in VIDEOS else "images"


def unit_of(image: str, dataset: str) -> str:
    """The unit that an image belongs to, from its id: its video, or the image itself."""
    return image.rpartition("/")[0] if dataset in VIDEOS else image


def sample(scores: Mapping[str, float], units: Mapping[str, str]) -> Sample:
    """A score by image as a score by unit; `units` has the unit of each image."""
    # Sorted, so that the same scores always give the same resamples.
    images = sorted(scores)
    _, places = np.unique([units[image] for image in images], return_inverse=True)
    sums = np.bincount(places, weights=[scores[image] for image in images])
    return Sample(sums, np.bincount(places).astype(np.float64))


def interval(scores: Sample, *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """The mean over images and its percentile bootstrap interval, units drawn with replacement.

    `scipy.stats.bootstrap`, of the ratio of the units' sums to their counts.
    """
    if len(scores.sums) < 2:
        return Interval(scores.mean, None, None)
    found = scipy.stats.bootstrap(
        scores,
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        confidence_level=LEVEL,
        method="percentile",
        **_resampling(scores, seed, resamples),
    )
    return Interval(scores.mean, *map(float, found.confidence_interval))


def sign_flip(differences: Sample, *, seed: int, resamples: int = RESAMPLES) -> float | None:
    """The two-sided p-value of a mean difference, if the two settings were exchangeable.

    The differences of a unit change sign together, as if the settings were swapped in this unit.
    All patterns of signs are tried if there are at most `resamples` of them, otherwise `resamples`
    random ones: `scipy.stats.permutation_test`. None for fewer than two units.
    """
    if len(differences.sums) < 2:
        return None
    found = scipy.stats.permutation_test(
        (differences.sums,),
        lambda sums, axis: sums.sum(axis),
        permutation_type="samples",
        **_resampling(differences, seed, resamples),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted for their number, which bounds the family-wise error (Holm, 1979).

    None, which stands for no test, stays None and is not counted.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min((len(tested) - rank) * p, 1.0))
        adjusted[place] = largest
    return adjusted


def compare(
    scores: Mapping[str, Mapping[str, float]],
    reference: str,
    units: Mapping[str, str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Comparison]:
    """Every other setting minus the reference, image by image.

    Settings that share no image with the reference are left out. `scores` are by setting and
    image; `units` has the unit of each image.
    """
    base, samples = scores[reference], {}
    for setting, by_image in scores.items():
        differences = {image: by_image[image] - base[image] for image in by_image if image in base}
        if setting != reference and differences:
            samples[setting] = sample(differences, units)
    p_values = [sign_flip(values, seed=seed, resamples=resamples) for values in samples.values()]
    compared = {}
    adjusted = holm(p_values)
    for (setting, values), p, holm_p in zip(samples.items(), p_values, adjusted, strict=True):
        difference = interval(values, seed=seed, resamples=resamples)
        images, number_of_units = int(values.counts.sum()), len(values.sums)
        compared[setting] = Comparison(difference, p, holm_p, images, number_of_units)
    return compared


def _resampling(scores: Sample, seed: int, resamples: int) -> dict[str, Any]:
    """The arguments of `scipy.stats` that intervals and tests share."""
    batch, rng = max(1, _LARGEST_BATCH // len(scores.sums)), np.random.default_rng(seed)
    return {"vectorized": True, "n_resamples": resamples, "batch": batch, "rng": rng}
