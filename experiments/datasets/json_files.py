"""Finds and reads the JSON file that annotates a dataset."""

import hashlib
import json
import pathlib
import re
from collections.abc import Sequence

from specjax import SpecjaxError


def read(path: pathlib.Path) -> tuple[dict, str]:
    """The object in a JSON file, and the sha256 of the file."""
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
    return content, hashlib.sha256(data).hexdigest()


def find(
    patterns: Sequence[str],
    default_split: str,
    data_dir: pathlib.Path,
    annotations: pathlib.Path | None,
    split: str | None,
) -> tuple[pathlib.Path, str]:
    """The annotation file of a split, and the split's name; `patterns` are below `data_dir`.

    Without a split, `instances.json` is preferred.
    """
    if annotations is not None:
        if not annotations.is_file():
            raise SpecjaxError(f"annotations {str(annotations)!r}: no such file")
        return annotations, split or _split_of(annotations, patterns) or default_split
    wanted = split or default_split
    names = ["instances.json"] if split is None else []
    names += [pattern.format(split=wanted) for pattern in patterns]
    for name in names:
        if (data_dir / name).is_file():
            return data_dir / name, wanted
    there = {path for p in patterns for path in data_dir.glob(p.format(split="*"))}
    available = sorted({split for path in there if (split := _split_of(path, patterns))})
    raise SpecjaxError(
        f"no annotations of split {wanted!r} in {str(data_dir)!r} (looked for {', '.join(names)}; "
        f"splits there: {', '.join(available) or 'none'}): give --split or --annotations"
    )


def _split_of(path: pathlib.Path, patterns: Sequence[str]) -> str | None:
    """The split in the name of a file, by the pattern that leaves the shortest."""
    splits = []
    for pattern in patterns:
        head, _, tail = pattern.partition("{split}")
        found = re.search(f"(?:^|/){re.escape(head)}([^/]+){re.escape(tail)}$", path.as_posix())
        if found and head != pattern:
            splits.append(found.group(1))
    return min(splits, key=len, default=None)
