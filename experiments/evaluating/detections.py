"""Detections: instances that were found, as entries of a COCO results file.

An entry is checked twice: its form when the file is read, its mask when the size of its image is
known. An error is one line that names the file and the entry, by its place from 0.
"""

import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from experiments.datasets import masks, values
from specjax import SpecjaxError

# The most detections of an image that count, by COCO's rules.
MOST = 100
_MAX_BYTES = 2**30  # of a JSON file
_FAR = 1e9  # pixels; a box that goes further is refused
# An image's id as a file writes it: 7 and 7.0 are one key, "7" is another.
Key = int | float | str
Box = tuple[float, float, float, float]  # left, top, width, height


class Detection(NamedTuple):
    """An instance that was found."""

    score: float
    box: Box
    area: float  # in pixels
    code: dict[str, Any] | None  # compressed run lengths for pycocotools; None without a mask


class Entry(NamedTuple):
    """An entry of a results file, whose mask has not been checked."""

    name: str  # in error messages
    score: float
    box: Box | None
    segmentation: list | dict | None

    def detection(self, height: int, width: int) -> Detection:
        """The detection on an image of this size.

        As by `pycocotools.coco.COCO.loadRes`, the area is that of the box if the entry has one.
        """
        code, area = None, 0
        if self.segmentation is not None:
            runs = masks.run_lengths(self.segmentation, height, width, self.name)
            code, area = encoded(runs, height, width), sum(runs[1::2])
        if self.box is not None:
            return Detection(self.score, self.box, self.box[2] * self.box[3], code)
        assert code is not None  # as every entry has a box or a mask
        return Detection(self.score, box_of(code), area, code)


def encoded(runs: list[int], height: int, width: int) -> dict[str, Any]:
    """Checked run lengths as pycocotools compresses them."""
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)


def decoded(code: dict[str, Any]) -> np.ndarray:
    """The mask of compressed run lengths, bool `[height, width]`."""
    height, width = code["size"]
    return masks.decode(masks.expand_counts(code["counts"].decode("ascii"), ""), height, width)


def box_of(code: dict[str, Any]) -> Box:
    """The box around a mask; all zero for an empty one."""
    left, top, width, height = map(float, coco_mask.toBbox(code))
    return left, top, width, height


def read_entries(path: pathlib.Path) -> dict[Key, list[Entry]]:
    """The entries of each image that count: the best of them, best first.

    Raises:
        SpecjaxError: the file cannot be read, or an entry has not the form of a result.
    """
    rows = read_json(path)
    if not isinstance(rows, list):
        annotations = isinstance(rows, dict) and "annotations" in rows
        hint = "; this is a file of annotations" if annotations else ""
        raise SpecjaxError(f"{str(path)!r} holds no list of results{hint}")
    found: dict[Key, list[Entry]] = {}
    for place, row in enumerate(rows):
        key, entry = _checked(row, f"{str(path)!r}: entry {place}")
        found.setdefault(key, []).append(entry)
        rows[place] = None
    return {key: best(entries) for key, entries in found.items()}


def best(entries: Sequence[Entry]) -> list[Entry]:
    """The entries that count, of all and of those with masks; the first comes first in a tie."""
    ranked = sorted(range(len(entries)), key=lambda place: -entries[place].score)
    with_mask = [place for place in ranked if entries[place].segmentation is not None]
    kept = {*ranked[:MOST], *with_mask[:MOST]}
    return [entries[place] for place in ranked if place in kept]


def read_json(path: pathlib.Path) -> Any:
    """The value in a JSON file of at most a gigabyte."""
    name = repr(str(path))
    try:
        if not path.is_file():
            raise SpecjaxError(f"{name}: no such file")
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise SpecjaxError(f"{name} is larger than {_MAX_BYTES >> 20} MiB: split it")
        return json.loads(data)
    except OSError as error:
        raise SpecjaxError(f"{name} cannot be read: {error.strerror}") from None
    except SpecjaxError:
        raise
    except (ValueError, RecursionError) as error:
        raise SpecjaxError(f"{name} is not valid JSON: {' '.join(str(error).split())}") from None


def key_of(value: object) -> Key | None:
    """An image's id, if it is one."""
    if isinstance(value, str):
        return value.strip() or None
    return values.number(value)


def _checked(row: object, where: str) -> tuple[Key, Entry]:
    if not isinstance(row, dict):
        raise SpecjaxError(f"{where} is {_shown(row)}, not an object")
    key = key_of(row.get("image_id"))
    if key is None:
        raise SpecjaxError(f"{where} has no valid 'image_id': {_shown(row.get('image_id'))}")
    score = values.number(row.get("score"))
    if score is None or abs(score) > _FAR:
        raise SpecjaxError(f"{where} has no finite 'score': {_shown(row.get('score'))}")
    box, segmentation = row.get("bbox") or None, row.get("segmentation") or None
    if box is None and segmentation is None:
        raise SpecjaxError(f"{where} has neither 'segmentation' nor 'bbox'")
    if not isinstance(segmentation, list | dict | None):
        raise SpecjaxError(f"{where}: 'segmentation' is {_shown(segmentation)}")
    return key, Entry(where, float(score), None if box is None else _box(box, where), segmentation)


def _box(box: object, where: str) -> Box:
    sides = [values.number(side) for side in box] if isinstance(box, list) else []
    known = [float(side) for side in sides if side is not None and abs(side) < _FAR]
    if len(sides) != 4 or len(known) != 4 or min(known[2:]) < 0:
        raise SpecjaxError(
            f"{where}: 'bbox' is {_shown(box)}, not left, top, width and height in pixels"
        )
    return known[0], known[1], known[2], known[3]


def _shown(value: object) -> str:
    return repr(value)[:40]
