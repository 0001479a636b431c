"""Find a user's photographs: in folders, files, globs and text lists.

The id of a photograph is its path without extension, relative to the folder given; for a glob, to
the folder before the first wildcard; for a text list, to the folder of the list (or, if it lists
files outside of that, to the deepest folder that holds all of them). The id of a single file is its
name. Where two photographs would have one id, their ids are longer (`specjax._ids`).

Hidden files and folders are skipped. Other files and folders that are passed over are reported.
"""

import collections
import glob
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from specjax._ids import Found, assign_ids
from specjax._lists import read_list
from specjax.errors import SpecjaxError
from specjax.images import SUFFIXES, is_image

LIST_SUFFIXES = (".txt", ".lst")
# Folders of photographs, and the folders beside them that have their annotations.
_IMAGES = set("image images img imgs jpegimages leftimg8bit photos rgb".split())
_ANNOTATIONS = set(
    "annotation annotations gt gtfine gtcoarse ground_truth groundtruth instances label labels mask"
    " masks segmentation segmentationclass segmentationobject segmentations".split()
)
# How many names a report has.
_NAMED = 5


class Photographs(NamedTuple):
    """The photographs that were found.

    Attributes:
        found: each photograph, without repetition.
        lists_sha256: digests of the text lists.
        warnings: lines about files and folders that were passed over.
        unread: lines about folders that cannot be read.
    """

    found: list[Found]
    lists_sha256: list[str]
    warnings: list[str]
    unread: list[str]

    @property
    def files(self) -> list[tuple[str, pathlib.Path]]:
        """Id and path of each photograph."""
        ids = assign_ids(self.found)
        return [(name, found.file) for name, found in zip(ids, self.found, strict=True)]


def find_photographs(paths: Sequence[str | os.PathLike]) -> Photographs:
    """Find the photographs of some paths: folders, image files, globs or text lists.

    Files of a folder or a glob are sorted by path. A file that several paths give is listed once.

    Raises:
        SpecjaxError: there are no paths, one of them does not exist, or none has images.
    """
    if not paths:
        raise SpecjaxError("no images given: name a folder, image files, a glob or a text list")
    if any(os.fspath(path) == "" for path in paths):  # an unset variable, not the working folder
        raise SpecjaxError("a path is empty: leave it out or give a path")
    search = _Search()
    for given in paths:
        search.add(pathlib.Path(os.path.abspath(os.path.expanduser(given))))
    passed = [_counted(search.passed)] if search.passed else []
    if not search.found:
        reasons = [*search.empty, *search.unread, *search.warnings, *passed]
        raise SpecjaxError("; ".join(reasons[:_NAMED]))
    warnings = [*search.warnings, *passed]
    return Photographs(list(search.found.values()), search.digests, warnings, search.unread)


class _Search:
    """What has been found so far."""

    def __init__(self) -> None:
        self.found: dict[pathlib.Path, Found] = {}
        self.digests: list[str] = []
        self.passed: list[pathlib.Path] = []  # files that are no images
        self.warnings: list[str] = []
        self.unread: list[str] = []
        self.empty: list[str] = []  # lines about paths without images

    def add(self, path: pathlib.Path) -> None:
        """Add the photographs of a path."""
        if os.path.isfile(path) and path.suffix.lower() in LIST_SUFFIXES:
            self._add_list(path)
        elif os.path.isfile(path):
            self._keep([path], path.parent)
        elif os.path.isdir(path):
            if not self._keep(sorted(self._walk(path)), path):
                self.empty.append(f"no images in {str(path)!r} (looked for {', '.join(SUFFIXES)})")
        else:
            base = next(parent for parent in path.parents if os.path.isdir(parent))
            pattern = path.relative_to(base)
            if not glob.has_magic(str(pattern)):
                raise SpecjaxError(f"{str(path)!r}: no such file or folder")
            # The folders that exist are taken literally.
            matching = glob.glob(os.path.join(glob.escape(str(base)), pattern), recursive=True)
            files = sorted(file for file in map(pathlib.Path, matching) if not os.path.isdir(file))
            if not self._keep(files, base):
                self.empty.append(f"no images match {str(path)!r}")

    def _keep(self, files: Iterable[pathlib.Path], base: pathlib.Path) -> bool:
        """Add those files that are images; whether there are any."""
        images: list[pathlib.Path] = []
        for file in files:
            # A damaged photograph is one that fails, so its suffix is enough.
            chosen = file.suffix.lower() in SUFFIXES or is_image(file)
            (images if chosen else self.passed).append(file)
        for file in images:
            self.found.setdefault(file, Found(file, base))
        return bool(images)

    def _walk(self, folder: pathlib.Path) -> Iterator[pathlib.Path]:
        """The files below a folder. Links are followed, but no folder is searched twice."""
        waiting, links, seen = [folder], collections.deque[pathlib.Path](), set()
        while waiting or links:
            current = waiting.pop() if waiting else links.popleft()
            real = os.path.realpath(current)
            if real in seen:
                continue
            seen.add(real)
            try:
                with os.scandir(current) as entries:
                    visible = sorted(
                        (entry for entry in entries if not entry.name.startswith(".")),
                        key=lambda entry: entry.name,
                    )
            except OSError as error:
                self.unread.append(f"folder {str(current)!r} cannot be read: {error.strerror}")
                continue
            folders = [entry for entry in visible if os.path.isdir(entry.path)]
            for entry in self._without_annotations(current, folders):
                (links if entry.is_symlink() else waiting).append(pathlib.Path(entry.path))
            yield from (pathlib.Path(entry.path) for entry in visible if entry not in folders)

    def _without_annotations(
        self, parent: pathlib.Path, folders: Sequence[os.DirEntry]
    ) -> Iterator[os.DirEntry]:
        """Those of the folders in a folder that may have photographs."""
        beside = [entry.name for entry in folders if entry.name.lower() in _IMAGES]
        for entry in folders:
            if beside and entry.name.lower() in _ANNOTATIONS:
                self.warnings.append(
                    f"passed over the folder {entry.path!r}: beside {beside[0]!r} it seems to have"
                    " annotations; name it to segment its images"
                )
            else:
                yield entry

    def _add_list(self, path: pathlib.Path) -> None:
        """Add the images of a text list; a line without a file will fail alone."""
        try:
            listing = read_list(path, name=repr(str(path)), what="images")
        except SpecjaxError as error:
            self.empty.append(str(error))
            self.passed.append(path)
            return
        base = path.parent
        files = {
            number: pathlib.Path(os.path.normpath(base / os.path.expanduser(line)))
            for number, line in listing.lines.items()
        }
        if not any(os.path.isfile(file) for file in files.values()):
            number, file = next(iter(files.items()))
            self.empty.append(
                f"{str(path)!r}, line {number}: no file {str(file)!r} (paths are relative to the"
                " folder of the list)"
            )
            self.passed.append(path)
            return
        if not all(file.is_relative_to(base) for file in files.values()):
            base = pathlib.Path(os.path.commonpath([file.parent for file in files.values()]))
        self.digests.append(listing.sha256)
        for file in files.values():
            self.found.setdefault(file, Found(file, base))


def _counted(passed: Sequence[pathlib.Path]) -> str:
    """A line about files that were passed over."""
    names = ", ".join(repr(str(file)) for file in passed[:_NAMED])
    more = f" and {len(passed) - _NAMED} more" if len(passed) > _NAMED else ""
    files = "1 file" if len(passed) == 1 else f"{len(passed)} files"
    return f"passed over {files}, neither images that Pillow reads nor lists of them: {names}{more}"
