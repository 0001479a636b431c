"""A person's own images: folders, files, globs and text lists, without annotation.

Ids are paths without extension, relative to the folder given; to the folder before the first
wildcard of a glob; to the folder of a text list (or, where it lists files outside, to the deepest
folder that holds all of them). A single file has its stem. Images are turned upright by their EXIF
orientation. Hidden files and folders are passed over.
"""

import functools
import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from experiments.datasets.lists import read_list
from experiments.datasets.records import Dataset, Record
from specjax import SpecjaxError, decode
from specjax.images import SUFFIXES

LIST_SUFFIXES = (".txt", ".lst")


def open_folder(data_dir: Sequence[pathlib.Path]) -> Dataset:
    """Opens images; each absolute path is a folder, an image file, a glob or a text list of paths.

    Files are listed here, once, and sorted by path within an argument. A file that two arguments
    give under one id is read once.

    Raises:
      SpecjaxError: nothing given, no such path, or no image in it.
    """
    if not data_dir:
        raise SpecjaxError("no images given: name a folder, image files, a glob or a text list")
    found: dict[tuple[str, pathlib.Path], None] = {}
    digests = []
    for path in data_dir:
        if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
            files, base, digest = _listed(path)
            digests.append(digest)
        else:
            files, base = _matching(path)
        for file in files:
            found[file.relative_to(base).with_suffix("").as_posix(), file] = None

    def records() -> Iterator[Record]:
        for record_id, file in found:
            yield Record(
                id=record_id,
                source=str(file),
                read_image=functools.partial(decode, file, exif=True),
                read_instances=None,
            )

    identity = {"name": "folder", "data_dir": "\n".join(map(str, data_dir))}
    if digests:
        identity["lists_sha256"] = " ".join(digests)
    return Dataset("folder", annotated=False, identity=identity, records=records)


def _matching(path: pathlib.Path) -> tuple[Sequence[pathlib.Path], pathlib.Path]:
    """The images of a file, a folder or a glob, and the folder that their ids are relative to."""
    if path.is_file():  # named by its user: where it is no image, reading it says so
        return [path], path.parent
    if path.is_dir():
        files, base, what = _walk(path), path, "in"
    elif glob.has_magic(str(path)):
        files = map(pathlib.Path, glob.glob(str(path), recursive=True))
        base = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        what = "match"
    else:
        raise SpecjaxError(f"{str(path)!r}: no such file or folder")
    images = [file for file in files if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not images:
        suffixes = ", ".join(SUFFIXES)
        raise SpecjaxError(f"no images {what} {str(path)!r} (looked for {suffixes})")
    return sorted(images), base


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    def refuse(error: OSError) -> None:
        raise SpecjaxError(f"folder {error.filename!r} cannot be read: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (pathlib.Path(parent, name) for name in names if not name.startswith("."))


def _listed(path: pathlib.Path) -> tuple[Sequence[pathlib.Path], pathlib.Path, str]:
    """The images of a text list, the folder that their ids are relative to, and its sha256."""
    listing = read_list(path, name=repr(str(path)), what="images")
    base, files = path.parent, []
    for number, line in listing.lines.items():
        file = pathlib.Path(os.path.normpath(base / os.path.expanduser(line)))
        if not file.is_file():
            raise SpecjaxError(
                f"{str(path)!r}, line {number}: no file {str(file)!r} (paths are relative to the "
                "folder of the list)"
            )
        files.append(file)
    if not all(file.is_relative_to(base) for file in files):
        base = pathlib.Path(os.path.commonpath([file.parent for file in files]))
    return files, base, listing.sha256
