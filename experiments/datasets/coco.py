"""COCO instances: photographs and one JSON file with polygons and run lengths.

`data_dir` holds the images in `images/`, in `<split>/` or itself. A record is made for every image
of the JSON file, annotated or not; ids are the stems of the files.
"""

import pathlib

from experiments.datasets.annotation_file import AnnotationFile, Family, ListedImage


def _parse(file: AnnotationFile) -> tuple[list[ListedImage], tuple[str, ...]]:
    rows = file.images("images", file_name=str)
    annotations = file.annotations("image_id")
    listed = []
    for row in rows:
        number, name = row["id"], row["file_name"]
        file.check_file_name(name, f"image {number}")
        stem, annotated = pathlib.PurePosixPath(name).stem, annotations.pop(number, ())
        listed.append(ListedImage(stem, name, row["height"], row["width"], annotated))
    if not annotations:
        return listed, ()
    warning = (
        f"{str(file.path)!r}: annotations of {len(annotations)} images that it does not list are "
        f"left out (image_id {min(annotations)} ...)"
    )
    return listed, (warning,)


COCO = Family(
    name="coco",
    default_split="val2017",
    patterns=("annotations/instances_{split}.json", "instances_{split}.json", "{split}.json"),
    folders=("images", "{split}", ""),
    parse=_parse,
)
