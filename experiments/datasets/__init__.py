"""Datasets as streams of records (see `records`): a reader for each format."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

from experiments.datasets import records
from experiments.datasets.annotated import open_annotated
from experiments.datasets.coco import COCO, YTVIS
from experiments.datasets.folder import open_folder
from experiments.datasets.samples import open_samples
from experiments.datasets.voc import open_voc
from specjax import SpecjaxError

_ANNOTATED = ("data_dir", "annotations", "split", "orientation")
# For each format, the function that opens it and the options of `open_dataset` that it takes.
_FORMATS: Mapping[str, tuple[Callable[..., records.Dataset], Sequence[str]]] = {
    "samples": (open_samples, ()),
    "voc": (open_voc, ("data_dir", "split")),
    "coco": (functools.partial(open_annotated, COCO), _ANNOTATED),
    "ytvis": (functools.partial(open_annotated, YTVIS), _ANNOTATED),
    "folder": (open_folder, ("data_dir",)),
}
NAMES = tuple(_FORMATS)

Path = str | os.PathLike


def open_dataset(
    name: str,
    *,
    data_dir: Path | Sequence[Path] | None = None,
    annotations: Path | None = None,
    split: str | None = None,
    orientation: str | None = None,
    frames: Path | None = None,
    paper_filter: bool = False,
    limit: int | None = None,
) -> records.Dataset:
    """Opens a dataset and applies, in this order, the list of frames, the paper's rule, the limit.

    Nothing is decoded here, but the ids are checked and the names in `frames` are matched.
    `data_dir` is a folder; for "folder" also an image file, a glob or a text list, or several of
    these. `split` defaults to "val" for "voc", "val2017" for "coco" and "train" for "ytvis".
    `annotations` is a JSON file, if it is not at its usual place. `orientation` says whether
    annotations were drawn on images as "upright" by EXIF or as "stored"; else their sizes decide.
    """
    if name not in NAMES:
        raise SpecjaxError(f"unknown dataset {name!r}: choose one of {', '.join(NAMES)}")
    opener, taken = _FORMATS[name]
    options = {"data_dir": data_dir, "annotations": annotations, "split": split}
    for option, value in options.items():
        if value is not None and option not in taken:
            raise SpecjaxError(
                f"--{option} has no meaning for dataset {name!r}: leave it out or change --dataset"
            )
    given = [data_dir] if isinstance(data_dir, Path) else data_dir or []
    paths = [_path(path) for path in given]
    arguments = {
        "data_dir": paths if name == "folder" or not taken else _single(name, paths),
        "annotations": None if annotations is None else _path(annotations),
        "split": split,
        "orientation": orientation,
    }
    dataset = opener(**{option: arguments[option] for option in taken})
    if orientation is not None:
        dataset = records.drawn_on(dataset, orientation)
    ids = records.check_ids(dataset.records())
    dataset = dataclasses.replace(dataset, count=len(ids))
    if frames is not None:
        dataset = records.select_frames(dataset, ids, _path(frames))
    if paper_filter:
        dataset = records.apply_paper_rule(dataset)
    return dataset if limit is None else records.take(dataset, limit)


def _single(name: str, paths: list[pathlib.Path]) -> pathlib.Path:
    """The folder of a dataset that consists of one folder."""
    if not paths:
        raise SpecjaxError(f"dataset {name!r} needs its folder: give --data_dir")
    if len(paths) > 1:
        raise SpecjaxError(f"dataset {name!r} takes one folder: give a single --data_dir")
    if not paths[0].is_dir():
        raise SpecjaxError(f"--data_dir {str(paths[0])!r}: no such folder")
    return paths[0]


def _path(path: Path) -> pathlib.Path:
    # Absolute, as the identity of a run must not depend on the working directory.
    return pathlib.Path(os.path.abspath(os.path.expanduser(path)))
