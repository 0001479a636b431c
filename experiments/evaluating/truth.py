"""The truth of an image for scores at full resolution: its objects and its ignored regions."""

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from experiments.datasets.records import VOID, Record
from experiments.evaluating.detections import Box, box_of, decoded, encoded
from specjax import SpecjaxError, coco


class Thing(NamedTuple):
    """An object of an image, or a region that is ignored as COCO ignores crowds."""

    code: dict[str, Any]  # compressed run lengths for pycocotools
    box: Box
    area: float  # in pixels
    ignored: bool = False  # a crowd, or void
    void: bool = False  # pixels without annotation, whose box says nothing


class Truth(NamedTuple):
    """What an image shows."""

    height: int
    width: int
    things: list[Thing]

    @property
    def objects(self) -> list[Thing]:
        """What should be found."""
        return [thing for thing in self.things if not thing.ignored]

    def mask(self, *, ignored: bool) -> np.ndarray:
        """The pixels of all objects or of all ignored regions, bool `[height, width]`."""
        covered = np.zeros((self.height, self.width), bool)
        for thing in self.things:
            if thing.ignored == ignored:
                covered |= decoded(thing.code)
        return covered


def read_truth(record: Record) -> Truth:
    """The truth of a record, from its objects if it has them, else from its instance map.

    Raises:
        SpecjaxError: the annotation cannot be read.
    """
    if record.read_objects is not None:
        found = record.read_objects()
        size = found.height, found.width
        things = []
        for thing in found.objects:
            code = encoded(thing.runs, *size)
            area = sum(thing.runs[1::2]) if thing.area is None else thing.area
            things.append(Thing(code, thing.box or box_of(code), area, thing.crowd))
        return Truth(*size, things)
    if record.read_instances is None:
        raise SpecjaxError(f"{record.source!r} has no annotation")
    instances = record.read_instances()
    size = instances.shape[0], instances.shape[1]
    things = []
    for mask in coco.instances_of(instances):
        code = {"size": list(size), "counts": mask["counts"].encode("ascii")}
        things.append(Thing(code, box_of(code), mask["area"]))
    if (instances == VOID).any():
        code = coco_mask.encode(np.asfortranarray(instances == VOID, np.uint8))
        area = int(coco_mask.area(code))
        things.append(Thing(code, box_of(code), area, ignored=True, void=True))
    return Truth(*size, things)
