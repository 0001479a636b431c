"""PASCAL VOC: photographs, and indexed PNGs whose palette indices are instance numbers.

`data_dir` is the folder that holds `JPEGImages`, or a folder with `VOC2012` or `VOCdevkit/VOC2012`
in it. Ids are the names in `ImageSets/Segmentation/<split>.txt`; index 255 is void.
"""

import functools
import pathlib
from collections.abc import Iterator

import numpy as np

from experiments.datasets.records import VOID, Dataset, Record, check_relative_path
from specjax import SpecjaxError, decode
from specjax._lists import read_list
from specjax.images import SUFFIXES, opened

_VOID_INDEX = 255
# Grey levels above this come from a converted palette, in which instances may share a level.
_MAX_GREY_INDEX = 31


def open_voc(data_dir: pathlib.Path, split: str | None) -> Dataset:
    """Opens a split of a VOC dataset ("val" unless given)."""
    split = split or "val"
    roots = (data_dir, data_dir / "VOC2012", data_dir / "VOCdevkit" / "VOC2012")
    root = next((root for root in roots if (root / "JPEGImages").is_dir()), None)
    if root is None:
        raise SpecjaxError(
            f"no folder JPEGImages in {str(data_dir)!r}, nor in VOC2012 or VOCdevkit/VOC2012 "
            "below it: give the VOC folder as --data_dir"
        )
    sets = root / "ImageSets" / "Segmentation"
    path = sets / f"{split}.txt"
    if not path.is_file():
        splits = ", ".join(sorted(file.stem for file in sets.glob("*.txt"))) or "none"
        raise SpecjaxError(f"no split {split!r}: {str(path)!r} is missing (splits there: {splits})")
    listing = read_list(path, name=repr(str(path)), what="images")
    for name in listing.lines.values():
        check_relative_path(name, f"{str(path)!r}: the id")
    annotated = (root / "SegmentationObject").is_dir()

    def records() -> Iterator[Record]:
        for name in listing.lines.values():
            files = [root / "JPEGImages" / f"{name}{suffix}" for suffix in SUFFIXES]
            # If none exists it is the first, and reading it reports the missing file.
            source = next((path for path in files if path.is_file()), files[0])
            masks = root / "SegmentationObject" / f"{name}.png"
            read_instances = functools.partial(read_palette, masks) if annotated else None
            yield Record(name, str(source), functools.partial(decode, source), read_instances)

    identity = {"name": "voc", "data_dir": str(root), "split": split}
    identity["split_sha256"] = listing.sha256
    return Dataset("voc", annotated=annotated, identity=identity, records=records)


def read_palette(path: pathlib.Path) -> np.ndarray:
    """The instance map of an indexed PNG; index 255 becomes void."""
    with opened(path) as image:
        mode = image.mode
        indices = np.asarray(image).astype(np.int32) if mode in ("P", "L") else None
    if indices is None:
        raise SpecjaxError(
            f"{str(path)!r} has mode {mode}, not P: instances must be palette indices "
            "(it was saved again as a colour PNG; take the original SegmentationObject file)"
        )
    is_void = indices == _VOID_INDEX
    if mode == "L" and indices[~is_void].max(initial=0) > _MAX_GREY_INDEX:
        raise SpecjaxError(
            f"{str(path)!r} has mode L with grey levels above {_MAX_GREY_INDEX}: a palette image "
            "was converted to grey, which merges instances; take the original (mode P)"
        )
    indices[is_void] = VOID
    return indices
