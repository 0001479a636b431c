"""A user's own images, without annotation: found by `specjax._photographs`, turned upright."""

import functools
import pathlib
from collections.abc import Iterator, Sequence

from experiments.datasets.records import Dataset, Record
from specjax import decode
from specjax._ids import assign_ids
from specjax._photographs import find_photographs


def open_folder(data_dir: Sequence[pathlib.Path]) -> Dataset:
    """Opens images; each path is a folder, an image file, a glob or a text list of paths."""
    found = find_photographs(data_dir)

    files, known = [image.file for image in found.found], dict[str, str]()

    def records() -> Iterator[Record]:
        for record_id, file in zip(assign_ids(found.found, known), files, strict=True):
            yield Record(record_id, str(file), functools.partial(decode, file, upright=True), None)

    identity = {"name": "folder", "data_dir": "\n".join(map(str, data_dir))}
    if found.lists_sha256:
        identity["lists_sha256"] = " ".join(found.lists_sha256)
    warnings = (*found.warnings, *found.unread)
    return Dataset("folder", False, identity, records, warnings=warnings, known=known)
