"""Predicted instances as COCO JSON: a dataset file and a results file, masks run-length coded."""

import numpy as np
from pycocotools import mask as coco_mask

from experiments.runs.store import Store
from specjax._folder import write_json

_CATEGORY = {"id": 1, "name": "object", "supercategory": "object"}


def segments(labels: np.ndarray, file_name: str) -> dict:
    """The instances of a label map `[H, W]` as a JSON-ready line."""
    masks = []
    for number in np.unique(labels[labels > 0]):
        code = coco_mask.encode(np.asfortranarray(labels == number).astype(np.uint8, order="F"))
        masks.append(
            {
                "counts": code["counts"].decode("ascii"),
                "area": int(coco_mask.area(code)),
                "bbox": [float(value) for value in coco_mask.toBbox(code)],
            }
        )
    return {
        "file_name": file_name,
        "height": labels.shape[0],
        "width": labels.shape[1],
        "masks": masks,
    }


def export(store: Store, visited: list[str], setting: str) -> None:
    """Write `coco.json` and `coco_results.json` of a setting from its stored segments.

    Image ids count from 1 in the order of the stream; `file_name` is the record's id with the
    extension of its file.
    """
    images, annotations, results = [], [], []
    for number, image_id in enumerate(visited, start=1):
        line = store.segments.get(image_id, setting)
        if line is None:
            continue
        size = [line["height"], line["width"]]
        images.append(
            {
                "id": number,
                "file_name": line["file_name"],
                "height": size[0],
                "width": size[1],
            }
        )
        for mask in line["masks"]:
            code = {"size": size, "counts": mask["counts"]}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": _CATEGORY["id"],
                    "segmentation": code,
                    "area": mask["area"],
                    "bbox": mask["bbox"],
                    "iscrowd": 0,
                }
            )
            results.append(
                {
                    "image_id": number,
                    "category_id": _CATEGORY["id"],
                    "segmentation": code,
                    "score": 1.0,
                }
            )
    dataset = {
        "info": {"description": "Instances found by specjax"},
        "images": images,
        "annotations": annotations,
        "categories": [_CATEGORY],
    }
    write_json(store.path("coco", setting), dataset, indent=None)
    write_json(store.path("coco_results", setting), results, indent=None)
