"""The formats of the COCO family (see `annotation_file`): COCO instances and YouTube-VIS 2019.

COCO: photographs are in `images/`, in `<split>/` or in `data_dir` itself. Every image of the JSON
file is a record, annotated or not; its id is the stem of the file name.

YouTube-VIS: frames are `JPEGImages/<video>/<frame>.jpg` below `data_dir` or `data_dir/<split>`.
Every listed frame is a record with the id `<video>/<frame>`; the JSON file has `null` for an object
that is not in the frame. Instances are numbered by video, so an object keeps its number.
"""

import pathlib

from experiments.datasets.annotation_file import AnnotationFile, Family, ListedImage
from experiments.datasets.records import check_relative_path


def _parse_images(file: AnnotationFile) -> tuple[list[ListedImage], tuple[str, ...]]:
    rows = file.images("images", file_name=str)
    annotations = file.annotations("image_id")
    listed = []
    for row in rows:
        number, name = row["id"], row["file_name"]
        check_relative_path(name, f"{str(file.path)!r}: image {number}: the file name")
        stem, annotated = pathlib.PurePosixPath(name).stem, annotations.pop(number, [])
        listed.append(ListedImage(stem, name, row["height"], row["width"], annotated))
    if not annotations:
        return listed, ()
    warning = (
        f"{str(file.path)!r}: annotations of {len(annotations)} images that it does not list are "
        f"left out (image_id {min(annotations)} ...)"
    )
    return listed, (warning,)


def _parse_videos(file: AnnotationFile) -> tuple[list[ListedImage], tuple[str, ...]]:
    videos = {row["id"]: row for row in file.images("videos", file_names=list)}
    annotations = file.annotations("video_id", segmentations=list)
    for number, rows in annotations.items():
        for row in rows:
            where, masks = f": annotation {row['id']}", len(row["segmentations"])
            if number not in videos:
                raise file.error(f"{where} is of video {number}, which is not listed")
            frames = len(videos[number]["file_names"])
            if masks != frames:
                raise file.error(
                    f"{where} has {masks} segmentations, but its video has {frames} frames"
                )
    listed = []
    for number, video in videos.items():
        rows, size = annotations.get(number, []), (video["height"], video["width"])
        for frame, name in enumerate(video["file_names"]):
            if not isinstance(name, str):
                raise file.error(f": video {number} has a file name that is not text")
            check_relative_path(name, f"{str(file.path)!r}: video {number}: the file name")
            frame_id = pathlib.PurePosixPath(name).with_suffix("").as_posix()
            listed.append(ListedImage(frame_id, name, *size, rows, frame))
    return listed, ()


_IN_ANNOTATIONS = ("annotations/instances_{split}.json", "annotations/{split}.json")
COCO = Family(
    name="coco",
    default_split="val2017",
    patterns=("annotations/instances_{split}.json", "instances_{split}.json", "{split}.json"),
    folders=("images", "{split}", ""),
    parse=_parse_images,
)
YTVIS = Family(
    name="ytvis",
    default_split="train",
    patterns=("{split}.json", "{split}/instances.json", *_IN_ANNOTATIONS),
    folders=("JPEGImages", "{split}/JPEGImages", "{split}", ""),
    parse=_parse_videos,
)
