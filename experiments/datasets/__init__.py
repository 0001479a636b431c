"""Datasets as streams of records (see `records`): one reader per format."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from experiments.datasets.coco import open_coco
from experiments.datasets.folder import open_folder
from experiments.datasets.frames import apply_paper_rule, select_frames, take
from experiments.datasets.records import Dataset, check_ids
from experiments.datasets.voc import open_voc
from experiments.datasets.ytvis import open_ytvis
from specjax.errors import SpecjaxError

NAMES = ("samples", "voc", "coco", "ytvis", "folder")

Path = str | os.PathLike


def open_dataset(
    name: str,
    *,
    data_dir: Path | Sequence[Path] | None = None,
    annotations: Path | None = None,
    split: str | None = None,
    frames: Path | None = None,
    paper_filter: bool = False,
    limit: int | None = None,
) -> Dataset:
    """Opens a dataset and applies, in this order, the list of frames, the paper's rule, the limit.

    Nothing is decoded here; ids are checked, and names in `frames` matched, before the first
    record is given.

    Args:
      name: one of `NAMES`.
      data_dir: where the dataset lies. For "folder" a folder, an image file, a glob or a text
        list, or several of them.
      annotations: the JSON file of "coco" and "ytvis", where it has not its usual place.
      split: of "voc" ("val" unless given), "coco" ("val2017") and "ytvis" ("train").
      frames: text file of the frames to read, one `video/frame` a line.
      paper_filter: keep the images of the paper's test rule only.
      limit: keep the first so many.

    Raises:
      SpecjaxError: an unknown name, an option that the format does not have, anything missing or
        malformed, two records with one id.
    """
    if name not in NAMES:
        raise SpecjaxError(f"unknown dataset {name!r}: choose one of {', '.join(NAMES)}")
    _refuse_unused(name, data_dir=data_dir, annotations=annotations, split=split)
    if name == "samples":
        dataset = _samples()
    elif name == "folder":
        dataset = open_folder(_paths(data_dir))
    else:
        folder, json_file = _folder(name, data_dir), annotations and _path(annotations)
        if name == "voc":
            dataset = open_voc(folder, split)
        elif name == "coco":
            dataset = open_coco(folder, json_file, split)
        else:
            dataset = open_ytvis(folder, json_file, split)
    ids = check_ids(dataset.records())
    dataset = dataclasses.replace(dataset, count=len(ids))
    if frames is not None:
        dataset = select_frames(dataset, ids, _path(frames))
    if paper_filter:
        dataset = apply_paper_rule(dataset)
    if limit is not None:
        dataset = take(dataset, limit)
    return dataset


def _samples() -> Dataset:
    from experiments.datasets import samples  # imports what draws the scenes

    return Dataset(
        "samples", annotated=True, identity={"name": "samples"}, records=samples.records
    )


def _refuse_unused(name: str, **options: object) -> None:
    taken = {
        "samples": (),
        "folder": ("data_dir",),
        "voc": ("data_dir", "split"),
    }.get(name, tuple(options))
    for option, value in options.items():
        if value is not None and option not in taken:
            raise SpecjaxError(
                f"--{option} means nothing to dataset {name!r}: leave it out or choose another "
                "--dataset"
            )


def _folder(name: str, data_dir: Path | Sequence[Path] | None) -> pathlib.Path:
    if data_dir is None:
        raise SpecjaxError(f"dataset {name!r} needs the folder it lies in: give --data_dir")
    if not isinstance(data_dir, str | os.PathLike):
        raise SpecjaxError(f"dataset {name!r} lies in one folder: give a single --data_dir")
    folder = _path(data_dir)
    if not folder.is_dir():
        raise SpecjaxError(f"--data_dir {str(folder)!r}: no such folder")
    return folder


def _paths(data_dir: Path | Sequence[Path] | None) -> list[pathlib.Path]:
    if data_dir is None:
        return []
    several = [data_dir] if isinstance(data_dir, str | os.PathLike) else data_dir
    return [_path(path) for path in several]


def _path(path: Path) -> pathlib.Path:
    # Made absolute for the identity of a run, which must not depend on the working directory.
    return pathlib.Path(os.path.abspath(os.path.expanduser(path)))
