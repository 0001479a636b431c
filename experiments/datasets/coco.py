"""The formats of the COCO family (see `annotated`): COCO instances and YouTube-VIS 2019.

COCO: photographs are in `images/`, in `<split>/`, in `data_dir` itself or beside the JSON file.
Every image of the JSON file is a record, annotated or not; its id is the stem of the file name.

YouTube-VIS: frames are `JPEGImages/<video>/<frame>.jpg` below `data_dir` or `data_dir/<split>`.
Every listed frame is a record with the id `<video>/<frame>`; the JSON file has `null` for an object
that is not in the frame. Instances are numbered by video, so an object keeps its number.
"""

from experiments.datasets.annotation_file import AnnotationFile, Family, ListedImage, Owner

# LVIS has web addresses instead of file names.
_NAMES = ("file_name", "coco_url", "flickr_url", "path")


def _parse_images(file: AnnotationFile) -> tuple[list[ListedImage], tuple[str, ...]]:
    owners = file.owners("images")
    annotations, warnings = file.annotations("image_id", owners)
    listed = []
    for owner in owners:
        names = (owner.row.get(key) for key in _NAMES)
        name = next((name for name in names if isinstance(name, str) and name), None)
        problem = owner.problem or (None if name else "has no valid 'file_name'")
        rows = annotations.get(owner.key, [])
        listed.append(ListedImage(name, owner.label, owner.row, rows, None, problem))
    return listed, warnings


def _parse_videos(file: AnnotationFile) -> tuple[list[ListedImage], tuple[str, ...]]:
    owners = file.owners("videos")
    annotations, warnings = file.annotations("video_id", owners)
    listed = []
    for owner in owners:
        names, rows = owner.row.get("file_names"), annotations.get(owner.key, [])
        if not isinstance(names, list):
            wrong = owner.problem or "has no valid 'file_names'"
            listed.append(ListedImage(None, owner.label, owner.row, [], 0, wrong))
            continue
        problem = owner.problem or _problem_of(owner, rows, len(names))
        for frame, name in enumerate(names):
            if isinstance(name, str) and name:
                listed.append(ListedImage(name, owner.label, owner.row, rows, frame, problem))
                continue
            label = f"{owner.label}.file_names[{frame}]"
            wrong = problem or "is not text"
            listed.append(ListedImage(None, label, owner.row, rows, frame, wrong))
    return listed, warnings


def _problem_of(owner: Owner, rows: list, frames: int) -> str | None:
    """What is wrong with the annotations of a video; no frame of it can then be read."""
    for annotation in rows:
        masks = annotation.row.get("segmentations")
        if not isinstance(masks, list):
            return f"cannot be read: {annotation.name} has no valid 'segmentations'"
        if len(masks) != frames:
            return (
                f"cannot be read: {annotation.name} has {len(masks)} segmentations, but its video "
                f"has {frames} frames"
            )
    return None


COCO = Family(
    name="coco",
    default_split="val2017",
    patterns=(
        "annotations/instances_{split}.json",
        "annotations/{split}.json",
        "instances_{split}.json",
        "{split}.json",
        "{split}/_annotations.coco.json",
        # As tools name it: Roboflow, CVAT, Label Studio, FiftyOne.
        "_annotations.coco.json",
        "annotations/instances_default.json",
        "result.json",
        "labels.json",
    ),
    folders=("images", "{split}", "", "images/{split}", "{split}/images", "data"),
    id_parts=1,
    parse=_parse_images,
)
YTVIS = Family(
    name="ytvis",
    default_split="train",
    patterns=(
        "{split}.json",
        "{split}/instances.json",
        "annotations/instances_{split}.json",
        "annotations/{split}.json",
        "annotations_{split}.json",
        "annotations/annotations_{split}.json",
    ),
    folders=("JPEGImages", "{split}/JPEGImages", "{split}", ""),
    id_parts=2,
    parse=_parse_videos,
)
