"""COCO segmentations (polygons, run lengths) to instance maps, checked before they are decoded.

A mask is kept as its run lengths: column-major, background first, one list of integers. Polygons
are drawn by pycocotools, whose choice of pixels is COCO's own. It is C code that trusts its input
(an outline of a billion pixels is allocated), so everything is checked in Python first, and run
lengths, compressed or not, never reach it.
"""

import math

import numpy as np
from pycocotools import mask as coco_mask

from experiments.datasets.records import VOID
from specjax import SpecjaxError

# Points of an outline that pycocotools may lay, at 5 a pixel and 16 bytes a point: 160 MB.
_MAX_OUTLINE_PIXELS = 2_000_000
_MAX_DIGITS = 7  # of 5 bits: enough for run lengths and differences of 32 bits


def run_lengths(segmentation: object, height: int, width: int, where: str) -> list[int]:
    """The run lengths of any COCO segmentation of an image; `where` begins error messages."""
    if isinstance(segmentation, list):
        polygons = _checked_polygons(segmentation, height, width, where)
        drawn = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        return expand_counts(drawn["counts"].decode("ascii"), where)
    if not isinstance(segmentation, dict):
        raise SpecjaxError(
            f"{where}: a segmentation must be a list of polygons or run lengths with 'size' and "
            f"'counts', not {type(segmentation).__name__}"
        )
    if segmentation.get("size") != [height, width]:
        raise SpecjaxError(
            f"{where}: the run lengths have size {str(segmentation.get('size'))[:40]}, the image "
            f"[{height}, {width}] (height, width)"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = expand_counts(counts, where)
    if not isinstance(counts, list) or not all(type(run) is int and run >= 0 for run in counts):
        raise SpecjaxError(f"{where}: 'counts' must be a string or a list of integers from 0")
    if sum(counts) != height * width:
        raise SpecjaxError(
            f"{where}: the run lengths cover {sum(counts)} pixels, the image has {height * width}"
        )
    return counts


def expand_counts(text: str, where: str) -> list[int]:
    """The run lengths in COCO's compressed string: 5-bit digits, differences from the fourth on."""
    counts: list[int] = []
    value = digits = 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64 or digits == _MAX_DIGITS:
            raise SpecjaxError(f"{where}: 'counts' is no compressed run length string")
        value |= (digit & 31) << (5 * digits)
        digits += 1
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << (5 * digits)
        # The format's own rule: differences are to the number before the last.
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = digits = 0
    if digits:
        raise SpecjaxError(f"{where}: 'counts' ends within a number")
    return counts


def decode(runs: list[int], height: int, width: int) -> np.ndarray:
    """The mask, bool `[height, width]`, of checked run lengths."""
    is_object = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_object, runs).reshape(width, height).T


def paint(
    height: int, width: int, instances: list[tuple[int, list[int]]], crowds: list[list[int]]
) -> np.ndarray:
    """The instance map, int32 `[height, width]`, of (number, run lengths) of each instance.

    The smaller of two overlapping masks (by area; of two equal ones the later) is on top; crowds
    are void where no instance covers them.
    """
    painted = np.zeros((height, width), np.int32)
    for crowd in crowds:
        painted[decode(crowd, height, width)] = VOID
    for number, runs in sorted(instances, key=lambda item: -sum(item[1][1::2])):
        painted[decode(runs, height, width)] = number
    return painted


def _checked_polygons(polygons: list, height: int, width: int, where: str) -> list[list[float]]:
    if not polygons:
        raise SpecjaxError(f"{where}: the segmentation is empty (masks are needed, not only boxes)")
    for polygon in polygons:
        numbers = isinstance(polygon, list) and all(type(x) in (int, float) for x in polygon)
        if not numbers or len(polygon) < 6 or len(polygon) % 2:
            raise SpecjaxError(f"{where}: a polygon must be an even number of at least 6 numbers")
        # Written so that NaN fails too. Outlines that leave the image a little are common.
        reach = height + width
        if not all(-reach <= number <= 2 * reach for number in polygon):
            raise SpecjaxError(f"{where}: a polygon goes far outside the {width} x {height} image")
        xs, ys = polygon[::2], polygon[1::2]
        outline = sum(max(abs(xs[i] - xs[i - 1]), abs(ys[i] - ys[i - 1])) for i in range(len(xs)))
        if math.ceil(outline) + len(polygon) > _MAX_OUTLINE_PIXELS:
            raise SpecjaxError(
                f"{where}: the outline of a polygon is longer than {_MAX_OUTLINE_PIXELS} pixels"
            )
    return polygons
