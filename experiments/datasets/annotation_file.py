"""The COCO family of datasets: images, and one JSON file with their annotations.

What the formats of the family share: finding, reading and checking the file, and making records of
the images that it lists. Instance numbers follow the order of the annotations; crowds are void. A
file without annotations gives records without instance maps.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.datasets import masks
from experiments.datasets.records import Dataset, Record, check_relative_path
from specjax import SpecjaxError, decode
from specjax.images import MAX_PIXELS


class ListedImage(NamedTuple):
    """An image that the file lists.

    Attributes:
      id: its record's id.
      file_name: relative to the folder of images.
      height, width: its size in pixels.
      annotations: rows of the file, in its order. Segmentations are looked at when they are read,
        so that a bad one fails its image alone.
      frame: its place in the rows' `segmentations`; None where a row has one `segmentation`.
    """

    id: str
    file_name: str
    height: int
    width: int
    annotations: Sequence[dict]
    frame: int | None = None


@dataclasses.dataclass(frozen=True)
class AnnotationFile:
    """A parsed JSON file."""

    path: pathlib.Path
    content: dict

    @property
    def annotated(self) -> bool:
        """Whether there are annotations at all."""
        return bool(self.content.get("annotations"))

    def error(self, text: str) -> SpecjaxError:
        """An error that begins with the file's path."""
        return SpecjaxError(f"{str(self.path)!r}{text}")

    def rows(self, key: str, **required: type) -> list[dict]:
        """The list of objects under `key`, each with the required fields of the given types.

        Raises:
          SpecjaxError: names the file, the row and the field.
        """
        rows = self.content.get(key)
        if not isinstance(rows, list):
            raise self.error(f" has no list {key!r}: is it of this format?")
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
        """Rows of images or videos: their ids are unique, their sizes plausible.

        Raises:
          SpecjaxError: names the file and the row.
        """
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
        """The annotations by the image or video that their field `owner` names."""
        by_owner = collections.defaultdict(list)
        if self.annotated:
            for row in self.rows("annotations", **{"id": int, owner: int}, **required):
                by_owner[row[owner]].append(row)
        return by_owner

    def check_file_name(self, file_name: str, what: str) -> None:
        """Raises SpecjaxError where a file name leaves its folder."""
        check_relative_path(file_name, f"{str(self.path)!r}: {what}: the file name")


@dataclasses.dataclass(frozen=True)
class Family:
    """A format of the family. In patterns, `{split}` stands for the name of the split.

    Attributes:
      name: the name of the format.
      default_split: the split where none is asked for.
      patterns: where the JSON file may be, below the dataset's folder.
      folders: where the images may be, below the dataset's folder.
      parse: the images that a file lists, and warnings.
    """

    name: str
    default_split: str
    patterns: Sequence[str]
    folders: Sequence[str]
    parse: Callable[[AnnotationFile], tuple[list[ListedImage], tuple[str, ...]]]


def open_annotated(
    family: Family, data_dir: pathlib.Path, annotations: pathlib.Path | None, split: str | None
) -> Dataset:
    """Opens a dataset of the family; the JSON file is parsed once, here.

    Raises:
      SpecjaxError: no such files, or a JSON file that is not of this format.
    """
    path, split = _find(family, data_dir, annotations, split)
    file, sha256 = _read(path)
    listed, warnings = family.parse(file)
    if not listed:
        raise file.error(" lists no images")
    folder = _find_images([data_dir / name.format(split=split) for name in family.folders], listed)

    def records() -> Iterator[Record]:
        for image in listed:
            source = folder / image.file_name
            read_instances = functools.partial(_read_instances, image, str(path))
            yield Record(
                id=image.id,
                source=str(source),
                read_image=functools.partial(decode, source),
                read_instances=read_instances if file.annotated else None,
            )

    identity = {
        "name": family.name,
        "data_dir": str(data_dir),
        "annotations": str(path),
        "annotations_sha256": sha256,
        "split": split,
    }
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
    """A JSON file and the sha256 of its bytes."""
    try:
        data = path.read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise SpecjaxError(f"annotations {str(path)!r} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SpecjaxError(f"annotations {str(path)!r} are not valid JSON: {reason}") from None
    if not isinstance(content, dict):
        raise SpecjaxError(f"annotations {str(path)!r} hold no JSON object: is it of this format?")
    return AnnotationFile(path, content), hashlib.sha256(data).hexdigest()


def _find(
    family: Family, data_dir: pathlib.Path, annotations: pathlib.Path | None, split: str | None
) -> tuple[pathlib.Path, str]:
    """The annotation file of a split, and the split's name.

    `annotations` wins; then `instances.json`, unless a split is asked for; then the first of the
    family's patterns that exists.
    """
    if annotations is not None:
        if not annotations.is_file():
            raise SpecjaxError(f"annotations {str(annotations)!r}: no such file")
        splits = (_split_of(annotations, pattern) for pattern in family.patterns)
        return annotations, split or next(filter(None, splits), family.default_split)
    names = ["instances.json"] if split is None else []
    split = split or family.default_split
    names += [pattern.format(split=split) for pattern in family.patterns]
    for name in names:
        if (data_dir / name).is_file():
            return data_dir / name, split
    available = {
        _split_of(path, pattern)
        for pattern in family.patterns
        for path in data_dir.glob(pattern.format(split="*"))
    }
    raise SpecjaxError(
        f"no annotations of split {split!r} in {str(data_dir)!r} (looked for {', '.join(names)}; "
        f"splits there: {', '.join(sorted(available)) or 'none'}): give --split or --annotations"
    )


def _split_of(path: pathlib.Path, pattern: str) -> str | None:
    head, tail = map(re.escape, pattern.split("{split}"))
    found = re.search(f"(?:^|/){head}([^/]+){tail}$", path.as_posix())
    return found and found.group(1)


def _find_images(folders: Sequence[pathlib.Path], listed: Sequence[ListedImage]) -> pathlib.Path:
    """The first folder that holds one of the images, the earliest image deciding."""
    for image in listed:
        for folder in folders:
            if (folder / image.file_name).is_file():
                return folder
    raise SpecjaxError(
        f"none of the annotated images was found (the first is {listed[0].file_name!r}; looked in "
        f"{', '.join(repr(str(folder)) for folder in folders)}): check --data_dir"
    )
