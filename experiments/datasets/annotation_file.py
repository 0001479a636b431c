"""What the formats of the COCO family share: images, and one JSON file that annotates them.

Instance numbers follow the order of the annotations; crowds are void. If the file has no
annotations, the records have no instance maps.
"""

import collections
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.datasets import masks
from experiments.datasets.records import Dataset, Record
from specjax import SpecjaxError, decode
from specjax.images import MAX_PIXELS


class ListedImage(NamedTuple):
    """An image that the file lists.

    Segmentations are checked only when they are read, so that a bad one fails its image alone.
    """

    id: str  # of its record
    file_name: str  # relative to the folder of images
    height: int
    width: int
    annotations: Sequence[dict]  # rows of the file, in its order
    frame: int | None = None  # place in the rows' `segmentations`; None for one `segmentation`


class AnnotationFile(NamedTuple):
    """A parsed JSON file."""

    path: pathlib.Path
    content: dict

    @property
    def annotated(self) -> bool:
        """Whether the file has annotations."""
        return bool(self.content.get("annotations"))

    def error(self, text: str) -> SpecjaxError:
        """An error that begins with the file's path."""
        return SpecjaxError(f"{str(self.path)!r}{text}")

    def rows(self, key: str, **required: type) -> list[dict]:
        """The list of objects under `key`, each with the required fields of the given types."""
        rows = self.content.get(key)
        if not isinstance(rows, list):
            raise self.error(f" has no list {key!r}: is it in this format?")
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise self.error(f": {key}[{index}] is not an object")
            for field, kind in required.items():
                value = row.get(field)
                if not isinstance(value, kind) or isinstance(value, bool):
                    label = f" (id {str(row['id'])[:40]})" if "id" in row else ""
                    shown = f": {str(value)[:40]!r}" if field in row else ""
                    raise self.error(f": {key}[{index}]{label} has no valid {field!r}{shown}")
        return rows

    def images(self, key: str, **required: type) -> list[dict]:
        """The rows of images or videos, after a check that ids are unique and sizes plausible."""
        rows = self.rows(key, id=int, height=int, width=int, **required)
        if not rows:
            raise self.error(f" lists no {key}")
        ids = set()
        for row in rows:
            if row["id"] in ids:
                raise self.error(f": two {key} have the id {row['id']}")
            ids.add(row["id"])
            height, width = row["height"], row["width"]
            if height < 1 or width < 1 or height * width > MAX_PIXELS:
                raise self.error(
                    f": {key.removesuffix('s')} {row['id']} is {str(width)[:20]} x "
                    f"{str(height)[:20]}: at least 1 and at most {MAX_PIXELS} pixels are read"
                )
        return rows

    def annotations(self, owner: str, **required: type) -> dict[int, list[dict]]:
        """The annotations of each image or video, which their field `owner` names."""
        by_owner = collections.defaultdict(list)
        if self.annotated:
            for row in self.rows("annotations", **{"id": int, owner: int}, **required):
                by_owner[row[owner]].append(row)
        return by_owner


class Family(NamedTuple):
    """A format of the family; `{split}` in its patterns and folders is the name of the split."""

    name: str
    default_split: str
    patterns: Sequence[str]  # where the JSON file may be, below the dataset's folder
    folders: Sequence[str]  # where the images may be, below the dataset's folder
    # Returns the images that a file lists, and warnings.
    parse: Callable[[AnnotationFile], tuple[list[ListedImage], tuple[str, ...]]]


def open_annotated(
    family: Family, data_dir: pathlib.Path, annotations: pathlib.Path | None, split: str | None
) -> Dataset:
    """Opens a dataset of the family; the JSON file is parsed once, here."""
    path, split = _find(family, data_dir, annotations, split)
    file, sha256 = _read(path)
    listed, warnings = family.parse(file)
    if not listed:
        raise file.error(" lists no images")
    folders = [data_dir / name.format(split=split) for name in family.folders]
    # The folder in which the first image that exists is found.
    places = ((folder, folder / image.file_name) for image in listed for folder in folders)
    folder = next((folder for folder, file in places if file.is_file()), None)
    if folder is None:
        raise SpecjaxError(
            f"none of the annotated images was found (the first is {listed[0].file_name!r}; looked "
            f"in {', '.join(repr(str(folder)) for folder in folders)}): check --data_dir"
        )

    def records() -> Iterator[Record]:
        for image in listed:
            source = folder / image.file_name
            read_image = functools.partial(decode, source)
            read_instances = functools.partial(_read_instances, image, str(path))
            annotation = read_instances if file.annotated else None
            yield Record(image.id, str(source), read_image, annotation)

    identity = {"name": family.name, "data_dir": str(data_dir), "annotations": str(path)}
    identity |= {"annotations_sha256": sha256, "split": split}
    return Dataset(family.name, file.annotated, identity, records, warnings)


def _read_instances(image: ListedImage, path: str) -> np.ndarray:
    instances, crowds = [], []
    for number, row in enumerate(image.annotations, start=1):
        where = f"{path!r}: annotation {row['id']}"
        if image.frame is None:
            segmentation = row.get("segmentation")
        else:
            segmentation = row["segmentations"][image.frame]
            where += f", frame {image.frame}"
            if segmentation is None:
                continue  # the object is not in this frame
        runs = masks.run_lengths(segmentation, image.height, image.width, where)
        if row.get("iscrowd"):
            crowds.append(runs)
        else:
            instances.append((number, runs))
    return masks.paint(image.height, image.width, instances, crowds)


def _read(path: pathlib.Path) -> tuple[AnnotationFile, str]:
    name = f"annotations {str(path)!r}"
    try:
        data = path.read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise SpecjaxError(f"{name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SpecjaxError(f"{name} are not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SpecjaxError(f"{name} hold no JSON object: is the file in this format?")
    return AnnotationFile(path, content), hashlib.sha256(data).hexdigest()


def _find(
    family: Family, data_dir: pathlib.Path, annotations: pathlib.Path | None, split: str | None
) -> tuple[pathlib.Path, str]:
    """The annotation file of a split, and the split's name."""
    if annotations is not None:
        if not annotations.is_file():
            raise SpecjaxError(f"annotations {str(annotations)!r}: no such file")
        splits = (_split_of(annotations, pattern) for pattern in family.patterns)
        return annotations, split or next(filter(None, splits), family.default_split)
    # `instances.json` is preferred, unless a split is given; then the first pattern that exists.
    names = ["instances.json"] if split is None else []
    split = split or family.default_split
    names += [pattern.format(split=split) for pattern in family.patterns]
    for name in names:
        if (data_dir / name).is_file():
            return data_dir / name, split
    found = [(pattern, data_dir.glob(pattern.format(split="*"))) for pattern in family.patterns]
    splits = (_split_of(path, pattern) for pattern, paths in found for path in paths)
    available = sorted({split for split in splits if split})
    raise SpecjaxError(
        f"no annotations of split {split!r} in {str(data_dir)!r} (looked for {', '.join(names)}; "
        f"splits there: {', '.join(available) or 'none'}): give --split or --annotations"
    )


def _split_of(path: pathlib.Path, pattern: str) -> str | None:
    head, tail = map(re.escape, pattern.split("{split}"))
    found = re.search(f"(?:^|/){head}([^/]+){tail}$", path.as_posix())
    return found and found.group(1)
