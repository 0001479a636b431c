"""A person's own photographs: folders, files, globs and text lists.

Ids are paths without extension, relative to the folder given; to the folder before the first
wildcard of a glob; to the folder of a text list (or, where it lists files outside, to the deepest
folder that holds all of them). A single file has its stem. Hidden files and folders are passed
over.
"""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from specjax._lists import read_list
from specjax.errors import SpecjaxError
from specjax.images import SUFFIXES

LIST_SUFFIXES = (".txt", ".lst")


class Photographs(NamedTuple):
    """What was found.

    Attributes:
        files: (id, absolute path) of each photograph, without repetition.
        lists_sha256: digests of the text lists.
    """

    files: list[tuple[str, pathlib.Path]]
    lists_sha256: list[str]


def find_photographs(paths: Sequence[str | os.PathLike]) -> Photographs:
    """The photographs that paths name: each a folder, an image file, a glob or a text list.

    Files are sorted by path within a folder or a glob. A file that two paths give under one id is
    there once.

    Raises:
        SpecjaxError: nothing given, no such path, or no image in it.
    """
    if not paths:
        raise SpecjaxError("no images given: name a folder, image files, a glob or a text list")
    if "" in map(os.fspath, paths):  # as of a variable that is not set; not the working folder
        raise SpecjaxError("a path is empty: leave it out or name what it is")
    found: dict[tuple[str, pathlib.Path], None] = {}
    digests = []
    for given in paths:
        path = pathlib.Path(os.path.abspath(os.path.expanduser(given)))
        if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
            files, base, digest = _listed(path)
            digests.append(digest)
        else:
            files, base = _matching(path)
        for file in files:
            found[file.relative_to(base).with_suffix("").as_posix(), file] = None
    return Photographs(list(found), digests)


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
