"""Scores of one prediction for each image: CorLoc, and those of salient object detection."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.evaluating.detections import Box

_BETA_SQUARED = 0.3
_CORRECT = 0.5


class Saliency(NamedTuple):
    """How well a mask shows the one object of an image."""

    iou: float
    accuracy: float
    f: float


def located(predicted: Box | None, objects: Sequence[Box]) -> bool:
    """Whether a box has an IoU above 0.5 with the box of an object.

    As in LOST and TokenCut, the corners of the objects' boxes are rounded to whole pixels first.

    Example:
        >>> located((0, 0, 10, 10), [(0, 0, 10, 19)]), located((0, 0, 10, 10), [(0, 0, 10, 20)])
        (True, False)
    """
    if predicted is None:
        return False
    left, top, width, height = predicted
    for truth in objects:
        first_x, first_y = round(truth[0]), round(truth[1])
        last_x, last_y = round(truth[0] + truth[2]), round(truth[1] + truth[3])
        across = min(left + width, last_x) - max(left, first_x)
        down = min(top + height, last_y) - max(top, first_y)
        shared = max(across, 0) * max(down, 0)
        union = width * height + (last_x - first_x) * (last_y - first_y) - shared
        if shared > _CORRECT * union:
            return True
    return False


def saliency(predicted: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> Saliency:
    """The scores of a mask, all arguments bool `[height, width]`; an empty mask has F = 0.

    F is the F-measure with beta squared 0.3. A soft prediction has one at each of 255 thresholds,
    and the papers report the largest of their means; those of a mask are all the same.

    Example:
        >>> truth, counted = np.array([[True, True, False]]), np.ones((1, 3), bool)
        >>> saliency(np.array([[True, False, False]]), truth, counted)
        Saliency(iou=0.5, accuracy=0.6666666666666666, f=0.8125)
    """
    both = np.count_nonzero(predicted & truth & counted)
    found, present = np.count_nonzero(predicted & counted), np.count_nonzero(truth & counted)
    pixels, union = np.count_nonzero(counted), found + present - both
    precision, recall = both / found if found else 1.0, both / present if present else 1.0
    weighted = _BETA_SQUARED * precision + recall
    return Saliency(
        iou=both / union if union else 0.0,
        accuracy=(pixels - union + both) / pixels if pixels else 0.0,
        f=(1 + _BETA_SQUARED) * precision * recall / weighted if weighted else 0.0,
    )
