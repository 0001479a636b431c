"""Find a user's photographs: in folders, files, globs and text lists.

The id of a photograph is its path without extension, relative to the folder given; for a glob, to
the folder before the first wildcard; for a text list, to the folder of the list (or, if it lists
files outside of that, to the deepest folder that holds all of them). The id of a single file is its
name. Hidden files and folders are skipped.
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
    """The photographs that were found.

    Attributes:
        files: id and absolute path of each photograph, without repetition.
        lists_sha256: digests of the text lists.
    """

    files: list[tuple[str, pathlib.Path]]
    lists_sha256: list[str]


def find_photographs(paths: Sequence[str | os.PathLike]) -> Photographs:
    """Find the photographs of some paths: folders, image files, globs or text lists.

    Files of a folder or a glob are sorted by path. A file that several paths give with the same id
    is listed once.

    Raises:
        SpecjaxError: there are no paths, or one does not exist or has no images.
    """
    if not paths:
        raise SpecjaxError("no images given: name a folder, image files, a glob or a text list")
    if any(os.fspath(path) == "" for path in paths):  # an unset variable, not the working folder
        raise SpecjaxError("a path is empty: leave it out or give a path")
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
    """The images of a file, a folder or a glob, and the folder that ids are relative to."""
    if path.is_file():  # whatever its suffix: reading it raises an error if it is no image
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
    """The images of a text list, the folder that ids are relative to, and the list's sha256."""
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
