"""PASCAL VOC: photographs, and a picture of the instances of each (`mask_images`).

`data_dir` is the folder that holds `JPEGImages`, or a folder with `VOC2012` or `VOCdevkit/VOC2012`
in it. Ids are the names in `ImageSets/Segmentation/<split>.txt`, or in `ImageSets/Main` or
`ImageSets` if it is not there. A line of the list may have a suffix, folders as far as
`JPEGImages`, the path of a mask after the name, or a label such as -1.
"""

import collections
import functools
import pathlib
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from experiments.datasets import davis
from experiments.datasets.mask_images import read_mask
from experiments.datasets.records import Dataset, Record, check_relative_path
from specjax import SpecjaxError, decode
from specjax._lists import read_list
from specjax.images import SUFFIXES

_IMAGES, _MASKS = "JPEGImages", "SegmentationObject"
_LABELS = ("-1", "0", "1", "+1")


def open_voc(data_dir: pathlib.Path, split: str | None) -> Dataset:
    """Opens a split of a VOC dataset ("val" unless given)."""
    split = (split or "val").removesuffix(".txt")
    roots = (data_dir, data_dir / "VOC2012", data_dir / "VOCdevkit" / "VOC2012")
    root = next((root for root in roots if (root / _IMAGES).is_dir()), None)
    if davis.has_layout(data_dir) and (root is None or not (root / _MASKS).is_dir()):
        raise SpecjaxError(f"{str(data_dir)!r} holds DAVIS, not VOC: give --dataset=davis")
    if root is None:
        raise SpecjaxError(
            f"no folder {_IMAGES} in {str(data_dir)!r}, nor in VOC2012 or VOCdevkit/VOC2012 "
            "below it: give the VOC folder as --data_dir"
        )
    path = _list_of(root, split)
    listing = read_list(path, name=repr(str(path)), what="images")
    lines = [_parsed(line, root / _IMAGES) for line in listing.lines.values()]
    names = dict.fromkeys(_distinct(lines, root / _IMAGES))
    suffixes = collections.Counter(name for name, _ in names)
    annotated = (root / _MASKS).is_dir()

    def records() -> Iterator[Record]:
        for name, suffix in names:
            record_id = name if suffixes[name] == 1 else name + suffix
            yield _record(record_id, name, suffix, root, annotated, str(path))

    warnings = []
    if repeated := len(lines) - len(names):
        warnings.append(f"{str(path)!r}: {repeated} of {len(lines)} lines repeat an image")
    if absent := sum(line.label == "-1" for line in lines):
        warnings.append(
            f"{str(path)!r}: {absent} of {len(lines)} images have the label -1 (no object of the"
            " class); labels are not used, and all images are"
        )
    identity = {"name": "voc", "data_dir": str(root), "split": split}
    identity["split_sha256"] = listing.sha256
    return Dataset("voc", annotated, identity, records, tuple(warnings))


def _list_of(root: pathlib.Path, split: str) -> pathlib.Path:
    """The text file that lists the images of a split."""
    sets = root / "ImageSets"
    folders = [sets / "Segmentation", sets / "Main", sets]
    paths = [folder / f"{split}.txt" for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        found = {file.stem for folder in folders for file in folder.glob("*.txt")}
        raise SpecjaxError(
            f"no split {split!r}: {str(paths[0])!r} is missing (splits there: "
            f"{', '.join(sorted(found)) or 'none'})"
        )
    return path


class _Line(NamedTuple):
    """What a line of a list says."""

    name: str  # of the image, without suffix
    suffix: str  # as written, or empty
    label: str | None


def _parsed(line: str, images: pathlib.Path) -> _Line:
    """The image that a line names: alone, or as the first of several words."""
    words, label = line.split(), None
    if len(words) > 1 and _existing(images, *_without_suffix(line)) is None:
        line, label = words[0], words[1] if words[1] in _LABELS else None
    return _Line(*_without_suffix(line), label)


def _distinct(lines: Sequence[_Line], images: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Names and suffixes; the suffix of the file if a name is listed with different ones."""
    suffixes = collections.Counter(name for name, _ in {line[:2] for line in lines})
    for line in lines:
        file = _existing(images, line.name, line.suffix) if suffixes[line.name] > 1 else None
        yield line.name, file.suffix if file else line.suffix


def _without_suffix(written: str) -> tuple[str, str]:
    """The name and the suffix of an image, from a path that may have leading folders."""
    path = written.replace("\\", "/")
    _, found, below = f"/{path}".rpartition(f"/{_IMAGES}/")
    path = below if found else path.removeprefix("./")
    stem, dot, suffix = path.rpartition(".")
    return (stem, dot + suffix) if stem and dot + suffix.lower() in SUFFIXES else (path, "")


def _existing(folder: pathlib.Path, name: str, suffix: str) -> pathlib.Path | None:
    """The file of an image or a mask, with the suffix that is written or another one."""
    suffixes = [suffix] * bool(suffix) + [*SUFFIXES, *map(str.upper, SUFFIXES)]
    try:
        files = (folder / f"{name}{ending}" for ending in suffixes)
        return next((file for file in files if file.is_file()), None)
    except (OSError, ValueError):  # a name that no file can have
        return None


def _record(
    record_id: str, name: str, suffix: str, root: pathlib.Path, annotated: bool, path: str
) -> Record:
    try:
        check_relative_path(name, f"{path!r}: the id")
    except SpecjaxError as error:
        refuse = functools.partial(_refuse, str(error))
        return Record(_escaped(record_id), path, refuse, refuse if annotated else None)
    # If there is no file, reading it reports the missing one.
    source = _existing(root / _IMAGES, name, suffix)
    source = source or root / _IMAGES / f"{name}{suffix or SUFFIXES[0]}"
    masks = _existing(root / _MASKS, name, ".png") or root / _MASKS / f"{name}.png"
    read_instances = functools.partial(read_mask, masks) if annotated else None
    read_image = functools.partial(decode, source)
    return Record(record_id, str(source), read_image, read_instances, annotation=str(masks))


def _refuse(problem: str) -> NoReturn:
    raise SpecjaxError(problem)


def _escaped(name: str) -> str:
    """A name that is no relative path, as one word that can be the name of a file."""
    quoted = urllib.parse.quote(name, safe=" ", errors="surrogatepass").replace(".", "%2E")
    return quoted or "%"
