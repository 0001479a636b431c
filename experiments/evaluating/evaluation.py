"""Scores detections from several sources against one dataset, whose truth is read once."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.datasets import notes
from experiments.datasets.records import Dataset
from experiments.evaluating import average, localization
from experiments.evaluating.detections import Detection, decoded
from experiments.evaluating.sources import Source
from experiments.evaluating.truth import Truth, read_truth
from experiments.results import statistics
from experiments.results.tables import mean
from specjax import SpecjaxError

KINDS = {"masks": average.MASKS, "boxes": average.BOXES}
# Scores of one prediction for each image.
SINGLE = ("corloc", "iou", "accuracy", "max_f")


class Bootstrap(NamedTuple):
    """How intervals are computed."""

    seed: int = 0
    resamples: int = statistics.RESAMPLES
    ap_resamples: int = 0  # for precisions, which take long; none if 0


class Image(NamedTuple):
    """An image that is scored."""

    id: str
    unit: str  # the video that it is a frame of, or the image itself
    own_id: int | float | str | None  # in the dataset
    truth: Truth
    found: list[list[Detection]]  # by source


def evaluate(dataset: Dataset, sources: Sequence[Source], bootstrap: Bootstrap) -> dict[str, Any]:
    """The scores of each source, with warnings and failures, as `scores.json` has them.

    An image whose annotation cannot be read is a failure of that image alone.

    Raises:
        SpecjaxError: the dataset has no annotation or no image that can be read, or a detection
            does not fit its image.
    """
    if not dataset.annotated:
        raise SpecjaxError(f"dataset {dataset.name!r} has no annotation: nothing can be scored")
    images, failures, met = [], [], []
    unknown: list[list[str]] = [[] for _ in sources]
    for number, record in enumerate(dataset.records(), start=1):
        try:
            truth = read_truth(record)
        except SpecjaxError as error:
            failures.append({"id": record.id, "error": str(error)})
            for source in sources:
                source.find(record, number, None)
            continue
        met.append((record.id, dict(record.notes)))
        found = []
        for source, of_source in zip(sources, unknown, strict=True):
            detections = source.find(record, number, (truth.height, truth.width))
            if detections is None:
                of_source.append(record.id)
            found.append(detections or [])
        own_id = None if record.origin is None else record.origin.id
        unit = statistics.unit_of(record.id, dataset.name)
        images.append(Image(record.id, unit, own_id, truth, found))
    if not images:
        first = f" (the first: {failures[0]['error']})" if failures else ""
        raise SpecjaxError(f"dataset {dataset.name!r} has no image that can be scored{first}")
    images = _in_order(images)
    one_object = _one_object(images)
    results, warnings = [], []
    for place, source in enumerate(sources):
        results.append(_result(source, images, place, one_object, bootstrap))
        warnings += source.unused() + _gaps(source, results[-1], unknown[place], len(images))
    warnings += _equal_scores(sources, images)
    if failures:
        warnings.append(
            f"{len(failures)} of {len(failures) + len(images)} images cannot be read and are not"
            f" scored; the first is {failures[0]['id']!r}: {failures[0]['error']}"
        )
    return {
        "results": results,
        "dataset": dict(dataset.identity),
        "images": len(images),
        "objects": sum(len(image.truth.objects) for image in images),
        "ignored_regions": sum(thing.ignored for image in images for thing in image.truth.things),
        "warnings": warnings + notes.sentences(met),
        "failures": failures,
    }


def _in_order(images: list[Image]) -> list[Image]:
    """In the order of the dataset's own ids, which decides between equal scores in pycocotools."""
    ids = [image.own_id for image in images]
    for kind in (int | float, str):
        if all(isinstance(own, kind) for own in ids):
            return sorted(images, key=lambda image: image.own_id)  # type: ignore
    return images


def _one_object(images: Sequence[Image]) -> bool:
    """Whether the dataset has one object in an image, as those of salient objects do."""
    counts = {len(image.truth.objects) for image in images}
    return max(counts) == 1


def _result(
    source: Source, images: Sequence[Image], place: int, one_object: bool, bootstrap: Bootstrap
) -> dict[str, Any]:
    detections = [image.found[place] for image in images]
    count = sum(map(len, detections))
    with_mask = sum(one.code is not None for found in detections for one in found)
    single: dict[str, dict[str, float]] = {name: {} for name in SINGLE}
    masks = with_mask or not count  # boxes alone say nothing about masks
    for image, found in zip(images, detections, strict=True):
        objects = image.truth.objects
        if objects:
            box = found[0].box if found else None
            correct = localization.located(box, [thing.box for thing in objects])
            single["corloc"][image.id] = float(correct)
        if objects and one_object and masks:
            scores = _saliency(image.truth, found)
            for name, score in zip(SINGLE[1:], scores, strict=True):
                single[name][image.id] = score
    result: dict[str, Any] = {"name": source.name, "file": str(source.path), "detections": count}
    result |= {"detections_without_mask": count - with_mask}
    intervals: dict[str, Any] = {}
    units = {image.id: image.unit for image in images}
    truths = [image.truth for image in images]
    for kind, iou_type in KINDS.items():
        if kind == "masks" and not masks:
            result[kind] = None
            continue
        averages = average.average(truths, detections, iou_type)
        result[kind] = averages.scores
        recalls = _intervals(_by_unit(averages, images), bootstrap)
        if bootstrap.ap_resamples:
            recalls |= average.precision_intervals(
                averages,
                [image.unit for image in images],
                seed=bootstrap.seed,
                resamples=bootstrap.ap_resamples,
            )
        intervals[kind] = recalls
    result |= {name: mean(scores.values()) for name, scores in single.items()}
    samples = {name: statistics.sample(scores, units) for name, scores in single.items() if scores}
    return {**result, "intervals": intervals | _intervals(samples, bootstrap)}


def _by_unit(
    averages: average.Averages, images: Sequence[Image]
) -> Mapping[str, statistics.Sample]:
    """Recalls as samples whose units are those of the images."""
    units = [image.unit for image in images if image.truth.objects]
    _, places = np.unique(units, return_inverse=True)
    return {
        name: statistics.Sample(
            np.bincount(places, weights=recall.sums), np.bincount(places, weights=recall.counts)
        )
        for name, recall in averages.recalls.items()
        if units
    }


def _intervals(
    samples: Mapping[str, statistics.Sample], bootstrap: Bootstrap
) -> dict[str, tuple[float, float]]:
    found = {}
    for name, sample in samples.items():
        interval = statistics.interval(sample, seed=bootstrap.seed, resamples=bootstrap.resamples)
        if interval.low is not None and interval.high is not None:
            found[name] = (interval.low, interval.high)
    return found


def _saliency(truth: Truth, found: Sequence[Detection]) -> localization.Saliency:
    """The scores of the best mask, an empty one where there is none."""
    best = next((one.code for one in found if one.code is not None), None)
    predicted = np.zeros((truth.height, truth.width), bool)
    if best is not None:
        predicted = decoded(best)
    return localization.saliency(predicted, truth.mask(ignored=False), ~truth.mask(ignored=True))


def _gaps(
    source: Source, result: Mapping[str, Any], unknown: Sequence[str], images: int
) -> list[str]:
    """Warnings about what a source lacks."""
    warnings = []
    if unknown:
        warnings.append(
            f"{str(source.path)!r}: {len(unknown)} of {images} images have no results, and are"
            f" scored as images in which nothing was found (the first is {unknown[0]!r})"
        )
    if without := result["detections_without_mask"]:
        warnings.append(
            f"{str(source.path)!r}: {without} of {result['detections']} detections have no mask,"
            " and are scored as boxes alone"
        )
    return warnings


def _equal_scores(sources: Sequence[Source], images: Sequence[Image]) -> list[str]:
    """A warning that names the sources most of whose detections have the same score."""
    named = []
    for place, source in enumerate(sources):
        images_of = collections.defaultdict(list)
        for image in images:
            for one in image.found[place]:
                images_of[one.score].append(image.id)
        count = sum(map(len, images_of.values()))
        most = max(images_of.values(), key=len, default=[])
        if 2 * len(most) > count and len(set(most)) > 1:
            named.append(source.name)
    if not named:
        return []
    return [
        f"{', '.join(named)}: most detections have the same score, so the order of the images"
        " decides AP, but not AR@100"
    ]
