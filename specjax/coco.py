"""Instances as COCO JSON: what a dataset file and a results file hold, masks run-length coded.

Label maps are int `[H, W]`: 0 is background, 1 and above are instances. All results are plain
values that `json` writes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer
from pycocotools import mask as coco_mask

_CATEGORY = {"id": 1, "name": "object", "supercategory": "object"}


class Entry(NamedTuple):
    """An image and its instances.

    Attributes:
        id: its number in the files, from 1.
        file_name: of the image.
        height: of the image, in pixels.
        width: of the image, in pixels.
        masks: its instances, as `instances_of` gives them.
    """

    id: int
    file_name: str
    height: int
    width: int
    masks: Sequence[dict[str, Any]]


def instances_of(labels: Integer[np.ndarray, "height width"]) -> list[dict[str, Any]]:
    """The instances of a label map in ascending order.

    Returns:
        For each, `counts` (compressed run lengths, as text), `area` (pixels) and `bbox` (left, top,
        width, height).
    """
    found = []
    for number in np.unique(labels[labels > 0]):
        code = coco_mask.encode(np.asfortranarray(labels == number, np.uint8))
        found.append(
            {
                "counts": code["counts"].decode("ascii"),
                "area": int(coco_mask.area(code)),
                "bbox": [float(value) for value in coco_mask.toBbox(code)],
            }
        )
    return found


def dataset(images: Iterable[Entry]) -> dict[str, Any]:
    """The content of an annotation file: images, and their instances as annotations.

    Annotations are numbered from 1; their one category is "object".
    """
    images = list(images)
    annotations = [
        {"id": number, **found, "area": mask["area"], "bbox": mask["bbox"], "iscrowd": 0}
        for number, (found, mask) in enumerate(_located(images), start=1)
    ]
    fields = ("id", "file_name", "height", "width")
    return {
        "info": {"description": "Instances found by specjax"},
        "images": [{field: getattr(image, field) for field in fields} for image in images],
        "annotations": annotations,
        "categories": [_CATEGORY],
    }


def results(images: Iterable[Entry]) -> list[dict[str, Any]]:
    """The content of a results file, as `pycocotools.coco.COCO.loadRes` reads it; all score 1."""
    return [{**found, "score": 1.0} for found, _ in _located(images)]


def _located(images: Iterable[Entry]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each mask and what both files say of it."""
    for image in images:
        for mask in image.masks:
            code = {"size": [image.height, image.width], "counts": mask["counts"]}
            common = {"image_id": image.id, "category_id": _CATEGORY["id"], "segmentation": code}
            yield common, mask
