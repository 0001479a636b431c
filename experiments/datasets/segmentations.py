"""COCO segmentations as annotation tools write them, brought to the strict form that `masks` reads.

Rings may be one flat list or lists of points, numbers may be text, a size may be missing. What has
no pixels is passed over and counted: rings of fewer than three points, empty segmentations.
"""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.datasets import masks, values
from specjax import SpecjaxError

Size = tuple[int, int]  # height, width


class Shape(NamedTuple):
    """A segmentation of which nothing is known to be wrong; `masks` checks it."""

    strict: list | dict
    size: Size | None  # that its run lengths name
    reach: tuple[float, float]  # how far down and to the right its outlines go
    degenerate: int  # rings that were passed over

    def fits(self, size: Size, slack: float = 2) -> bool:
        """Whether its outlines stay within an image, but for `slack` pixels."""
        return self.reach[0] <= size[0] + slack and self.reach[1] <= size[1] + slack

    def run_lengths(self, size: Size, where: str) -> list[int]:
        """Its run lengths; errors begin with `where`."""
        strict = self.strict
        if isinstance(strict, dict):
            strict = {**strict, "size": list(self.size or size)}
        return masks.run_lengths(strict, *size, where)


def read(segmentation: object, where: str) -> Shape | None:
    """Brings a segmentation to its strict form; None if it has no pixels.

    Raises SpecjaxError, beginning with `where`, if it is of no kind that is known.
    """
    if segmentation is None or segmentation in ([], {}, ""):
        return None
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, where)
    if not isinstance(segmentation, list):
        raise SpecjaxError(
            f"{where}: a segmentation must be a list of polygons or run lengths with 'size' and "
            f"'counts', not {type(segmentation).__name__}"
        )
    rings = [_numbers(ring, where) for ring in _rings(segmentation)]
    whole = [ring for ring in rings if len(ring) >= 6]
    if not whole:
        return None
    reach = max(max(ring[1::2]) for ring in whole), max(max(ring[::2]) for ring in whole)
    return Shape(whole, None, reach, len(rings) - len(whole))


def _run_lengths(segmentation: dict, where: str) -> Shape | None:
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if isinstance(counts, list):
        read = [values.whole(run) for run in counts]
        # What is not a number stays, for `masks` to name.
        counts = [old if new is None else new for old, new in zip(counts, read, strict=True)]
    if counts in ([], "", None):
        return None
    if size is None:
        return Shape({"counts": counts}, None, (0, 0), 0)
    found = [values.whole(side) for side in size] if isinstance(size, list) else []
    sides = [side for side in found if side is not None]
    if len(found) != 2 or len(sides) != 2:
        raise SpecjaxError(f"{where}: the run lengths have size {repr(size)[:40]}")
    named = (sides[0], sides[1]) if min(sides) > 0 else None
    return Shape({"counts": counts}, named, (0, 0), 0)


def _rings(segmentation: list) -> Sequence[object]:
    """The rings of a list of rings, of one flat ring, or of lists of points."""
    if not any(isinstance(item, list) for item in segmentation):
        return [segmentation]
    if len(segmentation) > 2 and all(_is_point(item) for item in segmentation):
        return [[side for point in segmentation for side in point]]
    return [
        [side for point in ring for side in point]
        if isinstance(ring, list) and ring and all(_is_point(item) for item in ring)
        else ring
        for ring in segmentation
    ]


def _is_point(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and not any(isinstance(x, list) for x in item)


def _numbers(ring: object, where: str) -> list[float]:
    found = [values.number(side) for side in ring] if isinstance(ring, list) else [None]
    numbers = [side for side in found if side is not None]
    if len(numbers) != len(found) or len(numbers) % 2:
        raise SpecjaxError(f"{where}: a polygon must be an even number of numbers")
    return numbers
