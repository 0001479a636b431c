"""Average precision and recall without classes, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from experiments.evaluating.detections import Detection, decoded
from experiments.evaluating.truth import Truth
from experiments.results.statistics import LEVEL, Sample

MASKS, BOXES = "segm", "bbox"
# What `COCOeval.summarize` computes, in its order.
_PRECISIONS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
_RECALLS = ("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large")
PRECISIONS = _PRECISIONS[:3]  # over objects of any size
RECALLS = {"AR1": 1, "AR10": 10, "AR100": 100}  # by how many detections of an image count
_CATEGORY = 1


class Averages(NamedTuple):
    """The scores of some detections."""

    scores: dict[str, float | None]  # by name; None without an object of that size
    recalls: dict[str, Sample]  # of `RECALLS`: each image's recalled share, and its objects
    evaluation: COCOeval


def average(
    truths: Sequence[Truth], detections: Sequence[Sequence[Detection]], kind: str
) -> Averages:
    """The scores by masks or boxes, the images in the order that decides between equal scores.

    For masks, detections without one are left out. A void region is ignored as crowds are; where
    boxes are compared, it takes the share of a box's area that is void.
    """
    sizes = [(truth.height, truth.width) for truth in truths]
    rows = [
        {
            "image_id": image,
            "segmentation": dict(thing.code),
            "bbox": list(thing.box),
            "area": thing.area,
            "iscrowd": int(thing.ignored),
            "void": thing.void,
        }
        for image, truth in enumerate(truths, start=1)
        for thing in truth.things
    ]
    found = [
        {
            "image_id": image,
            "segmentation": None if one.code is None else dict(one.code),
            "bbox": list(one.box),
            "area": one.area,
            "iscrowd": 0,
            "score": one.score,
        }
        for image, of_image in enumerate(detections, start=1)
        for one in of_image
        if kind == BOXES or one.code is not None
    ]
    evaluation = _Evaluation(_indexed(sizes, rows), _indexed(sizes, found), kind)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = [None if value < 0 else float(value) for value in evaluation.stats]
    scores = dict(zip((*_PRECISIONS, *_RECALLS), values, strict=True))
    return Averages(scores, _recalls(evaluation, len(truths)), evaluation)


def precision_intervals(
    averages: Averages, units: Sequence[str], *, seed: int, resamples: int
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of `PRECISIONS`, units of images drawn with replacement.

    Each resample is accumulated by pycocotools, which takes long.
    """
    evaluation, rng = averages.evaluation, np.random.default_rng(seed)
    images = evaluation.evalImgs[: len(units)]  # objects of any size come first
    _, places = np.unique(units, return_inverse=True)
    members = [np.flatnonzero(places == unit) for unit in range(places.max() + 1)]
    drawn = []
    for _ in range(resamples):
        chosen = rng.integers(len(members), size=len(members))
        # In their order, which decides between equal scores.
        order = np.sort(np.concatenate([members[unit] for unit in chosen]))
        drawn.append(_precisions(evaluation, [images[place] for place in order]))
    tail = 50 * (1 - LEVEL)
    known = np.array([row for row in drawn if row is not None])
    if not len(known):
        return {}
    low, high = np.percentile(known, [tail, 100 - tail], axis=0)
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(PRECISIONS)}


class _Evaluation(COCOeval):
    """As COCO does it, but for void regions and boxes."""

    def computeIoU(self, imgId: int, catId: int) -> Any:
        ious = super().computeIoU(imgId, catId)
        found = self._dts[imgId, catId]
        if self.params.iouType == BOXES and len(ious):
            for place, thing in enumerate(self._gts[imgId, catId]):
                if thing["void"]:
                    void = decoded(thing["segmentation"])
                    # The detections are sorted by score.
                    boxes = [one["bbox"] for one in found[: len(ious)]]
                    ious[:, place] = [_share(void, box) for box in boxes]
        return ious


def _share(region: np.ndarray, box: Sequence[float]) -> float:
    """The share of a box's area that is in a region, whole pixels counted."""
    left, top = max(round(box[0]), 0), max(round(box[1]), 0)
    right, bottom = max(round(box[0] + box[2]), left), max(round(box[1] + box[3]), top)
    area = max((right - left) * (bottom - top), 1)
    return np.count_nonzero(region[top:bottom, left:right]) / area


def _indexed(sizes: Sequence[tuple[int, int]], rows: list[dict[str, Any]]) -> COCO:
    """Rows as annotations, which are numbered from 1, of images that are."""
    index = COCO()
    index.dataset = {
        "images": [
            {"id": number, "height": height, "width": width}
            for number, (height, width) in enumerate(sizes, start=1)
        ],
        "annotations": [
            {"id": number, "category_id": _CATEGORY, **row} for number, row in enumerate(rows, 1)
        ],
        "categories": [{"id": _CATEGORY, "name": "object"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def _recalls(evaluation: COCOeval, images: int) -> dict[str, Sample]:
    """For each image with objects: how many are found, as a mean over thresholds, and how many."""
    found = [image for image in evaluation.evalImgs[:images] if image is not None]
    found = [image for image in found if not all(image["gtIgnore"])]
    counts = np.array([np.count_nonzero(image["gtIgnore"] == 0) for image in found], np.float64)
    recalls: dict[str, Sample] = {}
    for name, most in RECALLS.items():
        matched = [
            np.logical_and(image["dtMatches"], ~image["dtIgnore"])[:, :most].sum(axis=1).mean()
            for image in found
        ]
        recalls[name] = Sample(np.array(matched, np.float64), counts)
    return recalls


def _precisions(evaluation: COCOeval, images: Sequence[Any]) -> list[float] | None:
    """`PRECISIONS` of some evaluated images; None if they have no object."""
    again = COCOeval(iouType=evaluation.params.iouType)
    again.params.imgIds = list(range(len(images)))
    again.params.catIds = [_CATEGORY]
    again.params.areaRng = again.params.areaRng[:1]
    again.params.areaRngLbl = again.params.areaRngLbl[:1]
    again.params.maxDets = again.params.maxDets[-1:]
    again.evalImgs, again._paramsEval = images, again.params
    with contextlib.redirect_stdout(io.StringIO()):
        again.accumulate()
    precision = again.eval["precision"]
    if (precision < 0).all():
        return None
    return [float(precision.mean()), float(precision[0].mean()), float(precision[5].mean())]
