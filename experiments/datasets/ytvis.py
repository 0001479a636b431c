"""YouTube-VIS 2019: videos as folders of frames, and one JSON file with masks by frame.

Frames are in `JPEGImages/<video>/<frame>.jpg` below `data_dir` or below `data_dir/<split>`. Every
listed frame is a record with the id `<video>/<frame>`; an object that is absent from a frame has
`null` there. Instance numbers follow the order of the annotations of the video, so that an object
keeps its number from frame to frame. A file without annotations (the official valid and test
files) gives records without instance maps.
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

_PATTERNS = (
    "{split}.json",
    "{split}/instances.json",
    "annotations/instances_{split}.json",
    "annotations/{split}.json",
)
_DEFAULT_SPLIT = "train"


def open_ytvis(
    data_dir: pathlib.Path, annotations: pathlib.Path | None, split: str | None
) -> Dataset:
    """Opens a YouTube-VIS dataset; the JSON file is parsed once, here.

    Raises:
      SpecjaxError: no such files, or a JSON file that is not of this format.
    """
    path, split = annotation_file.find(
        data_dir, annotations, split, patterns=_PATTERNS, default_split=_DEFAULT_SPLIT
    )
    file = annotation_file.read(path)
    videos = _checked_videos(file)
    annotated = bool(file.content.get("annotations"))
    by_video = _by_video(file, {video["id"]: video for video in videos}) if annotated else {}
    folder = annotation_file.find_images(
        [data_dir / "JPEGImages", data_dir / split / "JPEGImages", data_dir / split, data_dir],
        [name for video in videos for name in video["file_names"]],
    )

    def records() -> Iterator[Record]:
        for video in videos:
            for index, name in enumerate(video["file_names"]):
                image = folder / name
                read_instances = functools.partial(
                    _read_instances, video, by_video.get(video["id"], []), index, str(path)
                )
                yield Record(
                    id=pathlib.PurePosixPath(name).with_suffix("").as_posix(),
                    source=str(image),
                    read_image=functools.partial(images.decode, image),
                    read_instances=read_instances if annotated else None,
                )

    identity = {
        "name": "ytvis",
        "data_dir": str(data_dir),
        "annotations": str(path),
        "annotations_sha256": file.sha256,
        "split": split,
    }
    return Dataset("ytvis", annotated=annotated, identity=identity, records=records)


def _checked_videos(file: annotation_file.AnnotationFile) -> list[dict]:
    videos = file.rows("videos", {"id": int, "file_names": list, "height": int, "width": int})
    file.check_unique(videos, "videos")
    for video in videos:
        file.check_image(video, "video")
        for name in video["file_names"]:
            if not isinstance(name, str):
                raise SpecjaxError(
                    f"{str(file.path)!r}: video {video['id']} has a file name that is no text"
                )
            file.check_file_name(name, f"video {video['id']}")
    if not any(video["file_names"] for video in videos):
        raise SpecjaxError(f"{str(file.path)!r} lists no frames")
    return videos


def _by_video(
    file: annotation_file.AnnotationFile, videos: dict[int, dict]
) -> dict[int, list[dict]]:
    by_video = collections.defaultdict(list)
    required = {"id": int, "video_id": int, "segmentations": list}
    for annotation in file.rows("annotations", required):
        where = f"{str(file.path)!r}: annotation {annotation['id']}"
        video = videos.get(annotation["video_id"])
        if video is None:
            raise SpecjaxError(f"{where} is of video {annotation['video_id']}, which is not listed")
        if len(annotation["segmentations"]) != len(video["file_names"]):
            raise SpecjaxError(
                f"{where} has {len(annotation['segmentations'])} segmentations, its video "
                f"{len(video['file_names'])} frames"
            )
        by_video[annotation["video_id"]].append(annotation)
    return by_video


def _read_instances(video: dict, annotations: list[dict], index: int, path: str) -> np.ndarray:
    height, width = video["height"], video["width"]
    instances, crowds = [], []
    for number, annotation in enumerate(annotations, start=1):
        segmentation = annotation["segmentations"][index]
        if segmentation is None:
            continue
        where = f"{path!r}: annotation {annotation['id']}, frame {index}"
        runs = masks.run_lengths(segmentation, height, width, where)
        if annotation.get("iscrowd"):
            crowds.append(runs)
        else:
            instances.append((number, runs))
    return masks.paint(height, width, instances, crowds)
