"""From COCO segmentations (polygons, run lengths) to instance maps, checked before decoding.

A mask is kept as its run lengths: column-major, background first, one list of integers. Polygons
are drawn by pycocotools, so that they cover the same pixels as in COCO. pycocotools is C code that
trusts its input (it would allocate an outline of a billion points), so polygons are checked in
Python first. Run lengths, compressed or not, are decoded here and never reach it.
"""

import math

import numpy as np
from pycocotools import mask as coco_mask

from experiments.datasets.records import VOID
from specjax import SpecjaxError

# Longest outline passed to pycocotools, which takes 5 points of 16 bytes per pixel: 160 MB.
_MAX_OUTLINE_PIXELS = 2_000_000
_MAX_DIGITS = 7  # of 5 bits: enough for run lengths and differences of 32 bits


def run_lengths(segmentation: object, height: int, width: int, where: str) -> list[int]:
    """The run lengths of a COCO segmentation of any kind; errors begin with `where`."""
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
            f"{where}: the run lengths have size {str(segmentation.get('size'))[:40]}, but the "
            f"image has [{height}, {width}] (height, width)"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = expand_counts(counts, where)
    if not isinstance(counts, list) or not all(type(run) is int and run >= 0 for run in counts):
        raise SpecjaxError(f"{where}: 'counts' must be a string or a list of integers of 0 or more")
    covered = sum(counts)
    if covered != height * width:
        # A number of thousands of digits cannot be printed.
        shown = covered if covered < 10**12 else "too many"
        raise SpecjaxError(
            f"{where}: the run lengths cover {shown} pixels, but the image has {height * width}"
        )
    return counts


def expand_counts(text: str, where: str) -> list[int]:
    """The run lengths in COCO's compressed string: 5-bit digits, differences from the fourth on."""
    counts: list[int] = []
    value = digits = 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64 or digits == _MAX_DIGITS:
            raise SpecjaxError(f"{where}: 'counts' is not a compressed run length string")
        value |= (digit & 31) << (5 * digits)
        digits += 1
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << (5 * digits)
        # By the rule of the format, a difference is to the number before the last.
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = digits = 0
    if digits:
        raise SpecjaxError(f"{where}: 'counts' ends within a number")
    return counts


def decode(runs: list[int], height: int, width: int) -> np.ndarray:
    """The mask of checked run lengths, bool `[height, width]`."""
    is_object = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_object, runs).reshape(width, height).T


def paint(
    height: int, width: int, instances: list[tuple[int, list[int]]], crowds: list[list[int]]
) -> np.ndarray:
    """The instance map, int32 `[height, width]`, from the number and run lengths of each instance.

    Where two masks overlap, the one of smaller area is on top, or the later one if their areas are
    equal. Crowds are void where no instance covers them.
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
        # A form that NaN fails too. Outlines often leave the image a little.
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
