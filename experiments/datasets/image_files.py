"""From the name of an image in an annotation file to the image file.

Names may come from another system: a backslash separates folders, `./` and a leading `/`, drive or
web address mean nothing here. A name is looked for as it is, then by its Unicode form, `%20` and
the like decoded and the suffix in another case, then without its first folders. Folders are listed
once, so that a hundred thousand names are found quickly; a name itself is never opened.
"""

import pathlib
import unicodedata
import urllib.parse
from collections.abc import Sequence
from typing import NamedTuple

from specjax._ids import Found, assign_ids

_NOTHING = ("", ".", "..")


def parts_of(name: str) -> list[str]:
    """The folders and the file of a name, without what has no meaning here."""
    if "://" in name:
        name = name.partition("://")[2].partition("?")[0].partition("#")[0]
    parts = [part for part in name.replace("\\", "/").split("/") if part not in _NOTHING]
    return parts[1:] if parts and len(parts[0]) == 2 and parts[0][1] == ":" else parts


def is_relative(name: str) -> bool:
    """Whether a name says where a file is below a folder of this dataset."""
    first = name.replace("\\", "/").partition("/")[0]
    return "://" not in name and first not in ("", "..") and not first.endswith(":")


class Place(NamedTuple):
    """An image file; `dropped` are the folders of its name that did not lead to it."""

    path: pathlib.Path
    dropped: int


class ImageFiles:
    """The images in some folders; the folder of the last image found is tried first."""

    def __init__(self, folders: Sequence[pathlib.Path]):
        self._folders = list(dict.fromkeys(folders))
        self._listings: dict[pathlib.Path, tuple[set[str], dict[str, list[str]]]] = {}

    def find(self, name: str) -> Place | None:
        """The file of a name; None if there is none, or if several may be meant."""
        parts = parts_of(name)
        variants = [parts] if "\\" not in name else [name.split("/"), parts]
        for names in variants:
            for start in range(len(names)):
                for exact in (True, False):
                    for folder in self._folders:
                        path = self._resolve(folder, names[start:], exact)
                        if path is not None:
                            self._folders.remove(folder)
                            self._folders.insert(0, folder)
                            return Place(path, start)
        return None

    def _resolve(
        self, folder: pathlib.Path, names: Sequence[str], exact: bool
    ) -> pathlib.Path | None:
        for name in names:
            there, folded = self._listing(folder)
            if name in there:
                folder = folder / name
                continue
            meant = [] if exact else folded.get(_folded(name), [])
            if len(meant) != 1:
                return None
            folder = folder / meant[0]
        return folder

    def _listing(self, folder: pathlib.Path) -> tuple[set[str], dict[str, list[str]]]:
        """The names in a folder, as they are and by their folded form."""
        if folder not in self._listings:
            try:
                there = {path.name for path in folder.iterdir()}
            except OSError:  # missing, no folder, or not permitted
                there = set()
            folded: dict[str, list[str]] = {}
            for name in there:
                folded.setdefault(_folded(name), []).append(name)
            self._listings[folder] = there, folded
        return self._listings[folder]


def _folded(name: str) -> str:
    """What is equal for names that differ in Unicode form, URL encoding or case of the suffix."""
    stem, dot, suffix = unicodedata.normalize(
        "NFKC", urllib.parse.unquote(name).strip()
    ).rpartition(".")
    return stem + dot + suffix.lower()


def shortest_ids(names: Sequence[Sequence[str]], parts: int) -> list[str]:
    """Ids from the parts of names: at least the last `parts`, and as many as tell names apart."""
    paths = [(pathlib.Path("/", *name), pathlib.Path("/", *name[:-parts])) for name in names]
    return assign_ids([Found(path, base) for path, base in paths])
