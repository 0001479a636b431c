"""Datasets as streams of records (see `records`): a reader for each format."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.datasets import records
from experiments.datasets.annotated import open_annotated
from experiments.datasets.coco import COCO, YTVIS
from experiments.datasets.davis import open_davis
from experiments.datasets.folder import open_folder
from experiments.datasets.joined import join
from experiments.datasets.paths import Path, paths_of
from experiments.datasets.saliency import open_saliency
from experiments.datasets.samples import open_samples
from experiments.datasets.voc import open_voc
from specjax import SpecjaxError

_ANNOTATED = ("annotations", "split", "orientation")


class Format(NamedTuple):
    """A format of datasets.

    Attributes:
        what: what it is, for the help of `--dataset`.
        opener: opens one folder.
        options: those of `open_dataset` that the opener takes besides.
    """

    what: str
    opener: Callable[..., records.Dataset]
    options: Sequence[str] = ()


FORMATS: Mapping[str, Format] = {
    "samples": Format("48 scenes that the program draws itself", open_samples),
    "voc": Format("PASCAL VOC devkit", open_voc, ("split",)),
    "coco": Format("COCO instances JSON", functools.partial(open_annotated, COCO), _ANNOTATED),
    "ytvis": Format("YouTube-VIS 2019 JSON", functools.partial(open_annotated, YTVIS), _ANNOTATED),
    "davis": Format("DAVIS 2016 or 2017", open_davis, ("annotations", "split")),
    "saliency": Format("images and binary masks", open_saliency, ("annotations",)),
    "folder": Format("your own images, without annotation", open_folder),
}
VIDEOS = ("ytvis", "davis")  # formats of frames; what precedes the last "/" of an id is the video


def open_dataset(
    name: str,
    *,
    data_dir: Path | Sequence[Path] | None = None,
    annotations: Path | None = None,
    split: str | None = None,
    orientation: str | None = None,
    frame_step: int | None = None,
    frames: Path | None = None,
    paper_filter: bool = False,
    limit: int | None = None,
) -> records.Dataset:
    """Opens a dataset and applies the step, the list of frames, the paper's rule, the limit.

    They are applied in this order. Nothing is decoded here, but the ids are checked and the names
    in `frames` are matched.

    `data_dir` is a folder, several of them, or a text with commas between them (`paths_of`); for
    "folder" also an image file, a glob or a text list. `split` defaults to "val" for "voc",
    "val2017" for "coco", "train" for "ytvis" and all sequences for "davis". `annotations` is a JSON
    file, if it is not at its usual place; for "davis" and "saliency" the folder of the masks.
    `orientation` says whether annotations were drawn on images as "upright" by EXIF or as "stored";
    else their sizes decide. `frame_step` keeps every n-th frame of each video.
    """
    if name not in FORMATS:
        raise SpecjaxError(f"unknown dataset {name!r}: choose one of {', '.join(FORMATS)}")
    _, opener, taken = FORMATS[name]
    _refuse_unused(name, data_dir=data_dir, annotations=annotations, split=split, step=frame_step)
    options = {
        "annotations": None if annotations is None else paths_of([annotations])[0],
        "split": split,
        "orientation": orientation,
    }
    arguments = {option: options[option] for option in taken}
    paths = paths_of(data_dir)
    if name == "samples":
        dataset = opener()
    elif name == "folder":
        dataset = opener(paths)
    else:
        _check_folders(name, paths)
        if annotations is not None and len(paths) > 1:
            raise SpecjaxError(
                "--annotations is for one folder: give a single --data_dir, or put the annotations"
                " at their usual place in each"
            )
        dataset = join([opener(path, **arguments) for path in paths], paths)
    if orientation is not None:
        dataset = records.drawn_on(dataset, orientation)
    ids = records.check_ids(dataset.records())
    dataset = dataclasses.replace(dataset, count=len(ids))
    if frame_step is not None:
        dataset, ids = records.every_nth(dataset, ids, frame_step)
    if frames is not None:
        dataset = records.select_frames(dataset, ids, paths_of([frames])[0])
    if paper_filter:
        dataset = records.apply_paper_rule(dataset)
    return dataset if limit is None else records.take(dataset, limit)


def _refuse_unused(name: str, *, step: int | None, **options: object) -> None:
    """Raises SpecjaxError if an option is given that the format does not take."""
    useful = [*FORMATS[name].options, *(["data_dir"] if name != "samples" else [])]
    useful += ["frame_step"] if name in VIDEOS else []
    for option, value in {**options, "frame_step": step}.items():
        if value is not None and option not in useful:
            raise SpecjaxError(
                f"--{option} has no meaning for dataset {name!r}: leave it out or change --dataset"
            )


def _check_folders(name: str, paths: Sequence[pathlib.Path]) -> None:
    if not paths:
        raise SpecjaxError(f"dataset {name!r} needs its folder: give --data_dir")
    for path in paths:
        if not path.is_dir():
            raise SpecjaxError(f"--data_dir {str(path)!r}: no such folder")
