"""COCO instances: photographs and one JSON file with polygons and run lengths.

`data_dir` holds the images in `images/`, in `<split>/` or itself. A record is made for every image
of the JSON file, annotated or not; ids are the stems of the files. Instance numbers follow the
order of the annotations of an image; crowds are void. A file without annotations (the official
test files) gives records without instance maps.
"""

import collections
import functools
import pathlib
from collections.abc import Iterator

import numpy as np

from experiments.datasets import annotation_file, masks
from experiments.datasets.records import Dataset, Record
from specjax import images
from specjax.errors import SpecjaxError

_PATTERNS = ("annotations/instances_{split}.json", "instances_{split}.json", "{split}.json")
_DEFAULT_SPLIT = "val2017"


def open_coco(
    data_dir: pathlib.Path, annotations: pathlib.Path | None, split: str | None
) -> Dataset:
    """Opens a COCO dataset; the JSON file is parsed once, here.

    Raises:
      SpecjaxError: no such files, or a JSON file that is not of this format.
    """
    path, split = annotation_file.find(
        data_dir, annotations, split, patterns=_PATTERNS, default_split=_DEFAULT_SPLIT
    )
    file = annotation_file.read(path)
    rows = file.rows("images", {"id": int, "file_name": str, "height": int, "width": int})
    if not rows:
        raise SpecjaxError(f"{str(path)!r} lists no images")
    file.check_unique(rows, "images")
    for row in rows:
        file.check_image(row, "image")
        file.check_file_name(row["file_name"], f"image {row['id']}")
    annotated = bool(file.content.get("annotations"))
    by_image = collections.defaultdict(list)
    # Segmentations are looked at when they are read, so that a bad one fails its image alone.
    for annotation in file.rows("annotations", {"id": int, "image_id": int}) if annotated else ():
        by_image[annotation["image_id"]].append(annotation)
    folder = annotation_file.find_images(
        [data_dir / "images", data_dir / split, data_dir], [row["file_name"] for row in rows]
    )

    def records() -> Iterator[Record]:
        for row in rows:
            image = folder / row["file_name"]
            read_instances = functools.partial(
                _read_instances, row, by_image.get(row["id"], []), str(path)
            )
            yield Record(
                id=pathlib.PurePosixPath(row["file_name"]).stem,
                source=str(image),
                read_image=functools.partial(images.decode, image),
                read_instances=read_instances if annotated else None,
            )

    identity = {
        "name": "coco",
        "data_dir": str(data_dir),
        "annotations": str(path),
        "annotations_sha256": file.sha256,
        "split": split,
    }
    orphans = by_image.keys() - {row["id"] for row in rows}
    return Dataset(
        "coco",
        annotated=annotated,
        identity=identity,
        records=records,
        warnings=_warnings(orphans, path),
    )


def _read_instances(image: dict, annotations: list[dict], path: str) -> np.ndarray:
    height, width = image["height"], image["width"]
    instances, crowds = [], []
    for number, annotation in enumerate(annotations, start=1):
        where = f"{path!r}: annotation {annotation['id']}"
        runs = masks.run_lengths(annotation.get("segmentation"), height, width, where)
        if annotation.get("iscrowd"):
            crowds.append(runs)
        else:
            instances.append((number, runs))
    return masks.paint(height, width, instances, crowds)


def _warnings(orphans: set[int], path: pathlib.Path) -> tuple[str, ...]:
    if not orphans:
        return ()
    return (
        f"{str(path)!r}: annotations of {len(orphans)} images that it does not list are left out "
        f"(image_id {min(orphans)} ...)",
    )
