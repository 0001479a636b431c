"""Instances as COCO JSON: the content of an annotation file and of a results file.

Label maps are int `[height, width]`: 0 is background, 1 and above are instances. Masks are
compressed run lengths. All results are plain values that `json` can write.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Integer
from pycocotools import mask as coco_mask

# The category of instances of unknown kind.
OBJECT = {"id": 1, "name": "object", "supercategory": "object"}


class Entry(NamedTuple):
    """An image and its instances.

    Attributes:
        id: of the image: a number from 1, or what a dataset has.
        file_name: of the image.
        height: of the image in pixels.
        width: of the image in pixels.
        masks: the instances, as `instances_of` gives them.
    """

    id: int | float | str
    file_name: str
    height: int
    width: int
    masks: Sequence[dict[str, Any]]


def instances_of(labels: Integer[np.ndarray, "height width"]) -> list[dict[str, Any]]:
    """The instances of a label map, in ascending order.

    Returns:
        A dict per instance: `counts` (compressed run lengths, as text), `area` (in pixels) and
        `bbox` (left, top, width, height).
    """
    return [encoded_mask(labels == number) for number in np.unique(labels[labels > 0])]


def encoded_mask(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """A mask as `instances_of` gives it."""
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "counts": code["counts"].decode("ascii"),
        "area": int(coco_mask.area(code)),
        "bbox": [float(value) for value in coco_mask.toBbox(code)],
    }


def dataset(images: Iterable[Entry], *, category: Mapping[str, Any] = OBJECT) -> dict[str, Any]:
    """The content of an annotation file: images, and their instances as annotations.

    Annotations are numbered from 1, and all have the one category.
    """
    images = list(images)
    annotations = [
        {"id": number, **common, "area": mask["area"], "bbox": mask["bbox"], "iscrowd": 0}
        for number, (common, mask) in enumerate(_with_masks(images, category), start=1)
    ]
    fields = ("id", "file_name", "height", "width")
    return {
        "info": {"description": "Instances found by specjax"},
        "images": [{field: getattr(image, field) for field in fields} for image in images],
        "annotations": annotations,
        "categories": [dict(category)],
    }


def results(
    images: Iterable[Entry], *, category: Mapping[str, Any] = OBJECT
) -> list[dict[str, Any]]:
    """The content of a results file for `pycocotools.coco.COCO.loadRes`.

    Masks without a "score" get 1.
    """
    found = _with_masks(images, category)
    return [{**common, "score": mask.get("score", 1.0)} for common, mask in found]


def _with_masks(
    images: Iterable[Entry], category: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The fields that both files share, and the mask, of each instance."""
    for image in images:
        for mask in image.masks:
            code = {"size": [image.height, image.width], "counts": mask["counts"]}
            common = {"image_id": image.id, "category_id": category["id"], "segmentation": code}
            yield common, mask
