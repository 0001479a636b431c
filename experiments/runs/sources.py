"""The files that each image of a run is read from, and whether they are still as a line says.

The version of a file is its size, the time of its last change, and a digest of its content. A copy
of a dataset has other times: then the digests are compared.
"""

import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

_Path = str | os.PathLike
# Of a file that cannot be read, or what is no file: a drawn scene.
_NO_FILE = ""


class Sources:
    """The files of images, by id. A line holds their versions as `read`.

    A line without `read`, and one of an image whose files are not known, is taken as valid.
    """

    def __init__(self) -> None:
        self._files: dict[str, Sequence[_Path]] = {}
        self._versions: dict[str, list[str]] = {}

    def add(self, image_id: str, files: Sequence[_Path]) -> None:
        """Name the files of an image."""
        self._files[image_id] = files

    def versions(self, image_id: str) -> list[str]:
        """The versions of an image's files as they are now; call it before they are read."""
        found = [_version(file) for file in self._files.get(image_id, ())]
        self._versions[image_id] = found
        return found

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether a line was made from the files as they are."""
        image_id, known = line["id"], line.get("read")
        if known is None or image_id not in self._files:
            return True
        if image_id not in self._versions:
            # Content is read only where the times differ.
            stamps = [_stamp(file) for file in self._files[image_id]]
            if stamps == [version.rpartition("-")[0] for version in known]:
                return True
        versions = self._versions.get(image_id) or self.versions(image_id)
        return list(map(_content, versions)) == list(map(_content, known))


def _stamp(file: _Path) -> str:
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return _NO_FILE
    return f"{status.st_size}-{status.st_mtime_ns}"


def _version(file: _Path) -> str:
    stamp = _stamp(file)
    try:
        with pathlib.Path(file).open("rb") as stream:
            return f"{stamp}-{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"
    except (OSError, ValueError):
        return _NO_FILE


def _content(version: str) -> str:
    """The size and the digest of a version, without the time."""
    size, _, digest = version.partition("-")
    return f"{size}-{digest.rpartition('-')[2]}"
