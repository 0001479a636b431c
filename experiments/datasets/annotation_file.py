"""Finding, reading and checking the JSON files of the COCO family."""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Sequence

from experiments.datasets.records import check_relative_path
from specjax.errors import SpecjaxError
from specjax.images import MAX_PIXELS


@dataclasses.dataclass(frozen=True)
class AnnotationFile:
    """A parsed JSON file: its path, content and the sha256 of its bytes."""

    path: pathlib.Path
    content: dict
    sha256: str

    def rows(self, key: str, required: dict[str, type | tuple[type, ...]]) -> list[dict]:
        """The list of objects under `key`, each with the required fields of the given types.

        Raises:
          SpecjaxError: names the file, the row and the field.
        """
        rows = self.content.get(key)
        if not isinstance(rows, list):
            raise SpecjaxError(f"{str(self.path)!r} has no list {key!r}: is it of this format?")
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise SpecjaxError(f"{str(self.path)!r}: {key}[{index}] is not an object")
            for field, kind in required.items():
                value = row.get(field)
                if not isinstance(value, kind) or isinstance(value, bool):
                    label = f" (id {str(row['id'])[:40]})" if "id" in row else ""
                    raise SpecjaxError(
                        f"{str(self.path)!r}: {key}[{index}]{label} has no valid {field!r}"
                        f"{'' if field not in row else f': {str(value)[:40]!r}'}"
                    )
        return rows

    def check_image(self, row: dict, what: str) -> None:
        """Raises SpecjaxError unless height and width of an image or a video are plausible."""
        height, width = row["height"], row["width"]
        if height < 1 or width < 1 or height * width > MAX_PIXELS:
            raise SpecjaxError(
                f"{str(self.path)!r}: {what} {row['id']} is {str(width)[:20]} x "
                f"{str(height)[:20]}: at least 1 and at most {MAX_PIXELS} pixels are read"
            )

    def check_unique(self, rows: Sequence[dict], key: str) -> None:
        """Raises SpecjaxError where two rows have one id."""
        seen = set()
        for row in rows:
            if row["id"] in seen:
                raise SpecjaxError(f"{str(self.path)!r}: two {key} have the id {row['id']}")
            seen.add(row["id"])

    def check_file_name(self, file_name: str, what: str) -> None:
        """Raises SpecjaxError where a file name leaves its folder."""
        check_relative_path(file_name, f"{str(self.path)!r}: {what}: the file name")


def read(path: pathlib.Path) -> AnnotationFile:
    """Reads and parses a JSON file.

    Raises:
      SpecjaxError: missing, unreadable, malformed, or not an object.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpecjaxError(f"annotations {str(path)!r} cannot be read: {error.strerror}") from None
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SpecjaxError(f"annotations {str(path)!r} are not valid JSON: {reason}") from None
    if not isinstance(content, dict):
        raise SpecjaxError(f"annotations {str(path)!r} hold no JSON object: is it of this format?")
    return AnnotationFile(path, content, hashlib.sha256(data).hexdigest())


def find(
    data_dir: pathlib.Path,
    annotations: pathlib.Path | None,
    split: str | None,
    *,
    patterns: Sequence[str],
    default_split: str,
) -> tuple[pathlib.Path, str]:
    """The annotation file of a split, and the split's name.

    `annotations` wins; then `instances.json`, unless a split is asked for; then the first of
    `patterns` (below `data_dir`, `{split}` filled in) that exists.

    Raises:
      SpecjaxError: nothing found; says what was looked for and which splits exist.
    """
    if annotations is not None:
        if not annotations.is_file():
            raise SpecjaxError(f"annotations {str(annotations)!r}: no such file")
        return annotations, split or _split_of(annotations, patterns) or default_split
    if split is None and (data_dir / "instances.json").is_file():
        return data_dir / "instances.json", default_split
    wanted = split or default_split
    for pattern in patterns:
        path = data_dir / pattern.format(split=wanted)
        if path.is_file():
            return path, wanted
    there = sorted(
        {
            _split_of(path, [pattern])
            for pattern in patterns
            for path in data_dir.glob(pattern.format(split="*"))
        }
    )
    looked = ", ".join(
        ([] if split else ["instances.json"]) + [p.format(split=wanted) for p in patterns]
    )
    raise SpecjaxError(
        f"no annotations of split {wanted!r} in {str(data_dir)!r} (looked for {looked}; splits "
        f"there: {', '.join(there) or 'none'}): give --split or --annotations"
    )


def find_images(folders: Sequence[pathlib.Path], file_names: Sequence[str]) -> pathlib.Path:
    """The first folder that holds one of the files, the earliest file deciding.

    Raises:
      SpecjaxError: none of the files is in any of the folders.
    """
    for file_name in file_names:
        for folder in folders:
            if (folder / file_name).is_file():
                return folder
    raise SpecjaxError(
        f"none of the annotated images was found (the first is {file_names[0]!r}; looked in "
        f"{', '.join(repr(str(folder)) for folder in folders)}): check --data_dir"
    )


def _split_of(path: pathlib.Path, patterns: Sequence[str]) -> str | None:
    for pattern in patterns:
        head, tail = pattern.split("{split}")
        found = re.search(f"(?:^|/){re.escape(head)}([^/]+){re.escape(tail)}$", path.as_posix())
        if found:
            return found.group(1)
    return None
