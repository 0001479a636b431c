"""The JSON files of the COCO family, brought to one form: images, each with its annotations.

Only a file without a list of images is refused here. What is wrong with one image is kept as its
`problem`, and what is wrong with an annotation is found when its image is read.
"""

import collections
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.datasets import values
from experiments.datasets.segmentations import Size
from specjax import SpecjaxError
from specjax._ids import escaped


class Annotation(NamedTuple):
    """An object of the file's list of annotations, and its name in error messages."""

    name: str
    row: dict


# By the id of their image or video.
Annotations = dict[int | str | None, list[Annotation]]


class ListedImage(NamedTuple):
    """An image that the file lists; nothing about its annotations has been checked."""

    file_name: str | None  # path, or web address; None if the file does not name it
    label: str  # its name in error messages
    row: dict  # of the image or of its video
    annotations: Sequence[Annotation]
    frame: int | None = None  # place in the rows' `segmentations`; None for one `segmentation`
    problem: str | None = None  # why it cannot be read

    @property
    def own_name(self) -> str | None:
        """The file name in the file, for exports; None for a web address."""
        return self.file_name if self.frame is not None or "file_name" in self.row else None

    @property
    def size(self) -> Size | None:
        """The size that the file says."""
        height, width = (values.whole(self.row.get(key)) for key in ("height", "width"))
        return (height, width) if height and width and min(height, width) > 0 else None


class Owner(NamedTuple):
    """An image or a video of the file, which annotations belong to."""

    label: str
    row: dict
    key: int | str | None  # its id, as `values.identity` has it
    problem: str | None


class AnnotationFile(NamedTuple):
    """A parsed JSON file."""

    path: Path
    content: dict

    @property
    def annotated(self) -> bool:
        """Whether the file has annotations."""
        return bool(self.content.get("annotations"))

    def error(self, text: str) -> SpecjaxError:
        """An error that begins with the file's path."""
        return SpecjaxError(f"{str(self.path)!r}{text}")

    def rows(self, key: str) -> list:
        """The list under `key`."""
        rows = self.content.get(key)
        if not isinstance(rows, list):
            raise self.error(f" has no list {key!r}: is it in this format?")
        return rows

    def owners(self, key: str) -> list[Owner]:
        """The images or videos; repeated rows are left out."""
        owners: list[Owner] = []
        first: dict[int | str, int] = {}
        for index, row in enumerate(self.rows(key)):
            label = f"{key}[{index}]"
            if not isinstance(row, dict):
                owners.append(Owner(label, {}, None, "is not an object"))
                continue
            found = values.identity(row.get("id"))
            problem = None if found is not None else f"has no valid 'id': {_shown(row.get('id'))}"
            if found is not None and found in first:
                other = owners[first[found]]
                if other.row == row:
                    continue
                problem = f"has the id {_shown(row['id'])}, like another of the {key}"
                owners[first[found]] = other._replace(problem=problem)
            elif found is not None:
                first[found] = len(owners)
            owners.append(Owner(label, row, found, problem))
        if not owners:
            raise self.error(f" lists no {key}")
        return owners

    def annotations(
        self, field: str, owners: Sequence[Owner]
    ) -> tuple[Annotations, tuple[str, ...]]:
        """The annotations of each image or video, named in their `field`, and warnings."""
        listed = {owner.key for owner in owners} - {None}
        found: Annotations = {}
        strangers = collections.Counter[int | str]()
        lost = 0
        for index, row in enumerate(self.rows("annotations") if self.annotated else ()):
            key = values.identity(row.get(field)) if isinstance(row, dict) else None
            if key is None:
                lost += 1
            elif key not in listed:
                strangers[key] += 1
            else:
                name = f"annotation {_shown(row['id'])}" if "id" in row else f"annotations[{index}]"
                found.setdefault(key, []).append(Annotation(name, row))
        warnings = []
        what = field.removesuffix("_id") + "s"
        if strangers:
            warnings.append(
                f"{str(self.path)!r}: annotations of {len(strangers)} {what} that it does not list "
                f"are left out ({field} {_shown(next(iter(strangers)))} ...)"
            )
        if lost:
            warnings.append(
                f"{str(self.path)!r}: annotations without a valid {field!r} are left out: {lost}"
            )
        return found, tuple(warnings)

    def category(self) -> dict[str, Any] | None:
        """The category of all objects, if there is only one."""
        rows = self.content.get("categories")
        if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
            return None
        (row,) = rows
        if values.identity(row.get("id")) is None or not isinstance(row.get("name"), str):
            return None
        return {key: row[key] for key in ("id", "name", "supercategory") if key in row}


class Family(NamedTuple):
    """A format of the family; `{split}` in its patterns and folders is the name of the split."""

    name: str
    default_split: str
    patterns: Sequence[str]  # where the JSON file may be, below the dataset's folder
    folders: Sequence[str]  # where the images may be, below the dataset's folder
    id_parts: int  # how many parts of its path, from the end, are the id of an image
    # Returns the images that a file lists, and warnings.
    parse: Callable[[AnnotationFile], tuple[list[ListedImage], tuple[str, ...]]]


def _shown(value: object) -> str:
    return escaped(str(value)[:40])
