"""Salient objects: images, each with one binary mask in a picture of the same name.

Images and masks are in two folders, whose names say which is which: `images` and `masks`, `Image`
and `GT`, `DUTS-TE-Image` and `DUTS-TE-Mask`, `images` and `ground_truth_mask`, `DUT-OMRON-image`
and `pixelwiseGT-new-PNG`, `JPEGImages` and `SegmentationObject`. Or they are in one, an image
(`.jpg`) beside its mask (`.png`), often called `Imgs`. The nearest such folders in `data_dir` are
taken. Ids are paths below the folder of the images.
"""

import functools
import itertools
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from experiments.datasets import image_files, mask_images, notes, pairs
from experiments.datasets.records import Dataset, Record
from specjax import SpecjaxError, decode
from specjax.images import opened

_IMAGES = set("image images img imgs jpegimages".split())
_MASKS = set("mask masks gt gts groundtruth annotation annotations segmentationobject".split())
_LAYOUTS = "images/ and masks/, DUTS-TE-Image/ and DUTS-TE-Mask/, Imgs/ with .jpg beside .png ..."
_DEPTH = 3  # levels of folders that are searched for these
# Of the pixels of a mask that are grey, a share above this is noted: edges have fewer.
_MANY_GREY = 0.1


def open_saliency(data_dir: pathlib.Path, annotations: pathlib.Path | None) -> Dataset:
    """Opens the images and masks of a folder."""
    if annotations is not None and not annotations.is_dir():
        raise SpecjaxError(f"--annotations {str(annotations)!r}: no such folder")
    images, masks = _find(data_dir, annotations)
    files, mask_files = pairs.images_below(images), pairs.images_below(masks)
    if images == masks:
        mask_files = [path for path in files if path.suffix.lower() == ".png"]
        files = [path for path in files if path.suffix.lower() != ".png"]
    found = pairs.by_name(mask_files, masks)
    names = [pairs.name_of(path, images) for path in files]
    if not found.keys() & set(names):
        raise SpecjaxError(
            f"no image in {str(images)!r} has a mask of its name in {str(masks)!r} (the first image"
            f" is {files[0].name!r}): check --data_dir"
        )
    ids = image_files.shortest_ids([path.relative_to(images).parts for path in files], 100)

    def records() -> Iterator[Record]:
        for record_id, file, name in zip(ids, files, names, strict=True):
            mask, met = found.get(name, masks / f"{name}.png"), dict[str, int]()
            yield Record(
                record_id,
                str(file),
                functools.partial(decode, file),
                functools.partial(read_binary, mask, met),
                notes=met,
                annotation=str(mask),
            )

    warnings = []
    if strangers := [found[name] for name in found if name not in set(names)]:
        warnings.append(
            f"{len(strangers)} masks have no image in {str(images)!r} and are left out (the first"
            f" is {str(strangers[0])!r})"
        )
    identity = {"name": "saliency", "data_dir": str(images), "annotations": str(masks)}
    return Dataset("saliency", True, identity, records, tuple(warnings))


def read_binary(path: pathlib.Path, met: dict[str, int] | None = None) -> np.ndarray:
    """The instance map of a binary mask: 1 where it is more than half white, 0 elsewhere.

    Of an image with a palette or colours, black is 0 and the other colour 1, void excepted. `met`
    receives a note if much of the mask is grey.

    Raises:
        SpecjaxError: it cannot be read, or is no binary mask.
    """
    name, met = repr(str(path)), {} if met is None else met
    met.clear()
    with opened(path) as image:
        found, mode = mask_images.stored(image), image.mode
    if found is None:
        raise SpecjaxError(f"{name} has mode {mode}: masks must be grey, palette or RGB images")
    levels, colours = found
    if colours is not None:
        used = np.unique(levels)
        grey = (colours[used] == colours[used][:, :1]).all()
        if len(used) < 3 or not grey:
            return _one(mask_images.read_mask(path), name)
        levels = colours[:, 0].astype(np.int32)[levels]
    used = np.unique(levels)
    white = 255 if used[-1] <= 255 else 65535
    if used[0] < 0 or used[-1] > white:
        raise SpecjaxError(f"{name} has values beyond 16 bits: save it with 8 bits")
    if used[-1] <= 1:
        return levels.astype(np.int32)
    if used[-1] <= white // 2 or used.tolist() == [0, 1, white]:
        shown = ", ".join(map(str, used[:5])) + " ..." * (len(used) > 5)
        raise SpecjaxError(
            f"{name} has the grey levels {shown}: a mask is 0 and 255, or 0 and 1, so that what is"
            " the object is not clear"
        )
    grey = np.mean((levels > white // 4) & (levels < white - white // 4))
    if grey > _MANY_GREY:
        met[notes.GREY] = 1
    return (levels > white // 2).astype(np.int32)


def _one(instances: np.ndarray, name: str) -> np.ndarray:
    """The map with its only instance as 1."""
    numbers = np.unique(instances[instances > 0])
    if len(numbers) > 1:
        raise SpecjaxError(
            f"{name} has {len(numbers)} objects: a salient object's mask has one (--dataset=voc"
            " reads instances)"
        )
    return np.where(instances > 0, 1, instances).astype(np.int32)


def _find(
    data_dir: pathlib.Path, annotations: pathlib.Path | None
) -> tuple[pathlib.Path, pathlib.Path]:
    """The folder of the images and that of the masks; one folder if they are side by side."""
    folders = [data_dir]
    for _ in range(_DEPTH):
        found = [pair for folder in folders for pair in _pairs_in(folder, annotations)]
        found = found or [(folder, folder) for folder in folders if _side_by_side(folder)]
        if len(found) > 1:
            names = ", ".join(" and ".join(map(str, dict.fromkeys(pair))) for pair in found[:4])
            raise SpecjaxError(
                f"{str(data_dir)!r} has several folders of images or masks ({names}): give one as"
                " --data_dir, or the masks as --annotations"
            )
        if found:
            return found[0]
        folders = [below for folder in folders for below in pairs.folders_in(folder)]
    if annotations is not None and pairs.images_below(data_dir):
        return data_dir, _inside(annotations)
    raise SpecjaxError(
        f"no images and masks in {str(data_dir)!r} (looked for {_LAYOUTS}): check --data_dir, or"
        " give the folder of the masks as --annotations"
    )


def _pairs_in(
    folder: pathlib.Path, annotations: pathlib.Path | None
) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """The folders of images in a folder, each with each folder of masks."""
    there = [(below.name, _inside(below)) for below in pairs.folders_in(folder)]
    filled = [(name, path) for name, path in there if pairs.images_below(path)]
    masks = [path for name, path in filled if _means(name, _MASKS)]
    if annotations is not None:
        masks = [_inside(annotations)]
    images = [path for name, path in filled if _means(name, _IMAGES) and path not in masks]
    return list(itertools.product(images, masks))


def _means(name: str, words: set[str]) -> bool:
    """Whether one of the words is in the name of a folder, such as DUTS-TE-Mask, pixelwiseGT."""
    found = re.split(r"[^a-z]+", name.lower())
    joined = "".join(found)
    return bool(words & {*found, joined}) or (
        "gt" in words and any(w.endswith("gt") for w in found)
    )


def _inside(folder: pathlib.Path) -> pathlib.Path:
    """The folder, or the only folder in it if it has no images of its own."""
    below = pairs.folders_in(folder)
    return _inside(below[0]) if len(below) == 1 and not pairs.images_in(folder) else folder


def _side_by_side(folder: pathlib.Path) -> bool:
    """Whether some images in a folder have a PNG of the same name beside them."""
    files = pairs.images_in(folder)
    masks = {path.stem for path in files if path.suffix.lower() == ".png"}
    return any(path.stem in masks for path in files if path.suffix.lower() != ".png")
