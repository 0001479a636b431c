"""YouTube-VIS 2019: videos as folders of frames, and one JSON file with masks by frame.

Frames are in `JPEGImages/<video>/<frame>.jpg` below `data_dir` or below `data_dir/<split>`. Every
listed frame is a record with the id `<video>/<frame>`; an object that is absent from a frame has
`null` there. Instance numbers are those of the video, so that an object keeps its number from
frame to frame.
"""

import pathlib

from experiments.datasets.annotation_file import AnnotationFile, Family, ListedImage


def _parse(file: AnnotationFile) -> tuple[list[ListedImage], tuple[str, ...]]:
    videos = {row["id"]: row for row in file.images("videos", file_names=list)}
    annotations = file.annotations("video_id", segmentations=list)
    for number, rows in annotations.items():
        for row in rows:
            where, masks = f": annotation {row['id']}", len(row["segmentations"])
            if number not in videos:
                raise file.error(f"{where} is of video {number}, which is not listed")
            frames = len(videos[number]["file_names"])
            if masks != frames:
                raise file.error(f"{where} has {masks} segmentations, its video {frames} frames")
    listed = []
    for number, video in videos.items():
        rows, size = annotations.get(number, ()), (video["height"], video["width"])
        for frame, name in enumerate(video["file_names"]):
            if not isinstance(name, str):
                raise file.error(f": video {number} has a file name that is no text")
            file.check_file_name(name, f"video {number}")
            frame_id = pathlib.PurePosixPath(name).with_suffix("").as_posix()
            listed.append(ListedImage(frame_id, name, *size, rows, frame))
    return listed, ()


YTVIS = Family(
    name="ytvis",
    default_split="train",
    patterns=(
        "{split}.json",
        "{split}/instances.json",
        "annotations/instances_{split}.json",
        "annotations/{split}.json",
    ),
    folders=("JPEGImages", "{split}/JPEGImages", "{split}", ""),
    parse=_parse,
)
