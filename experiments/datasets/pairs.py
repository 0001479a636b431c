"""Images, and the pictures of masks that have their names: what the readers of both share."""

import os
import pathlib
import re
from collections.abc import Iterable

from specjax.images import SUFFIXES


def folders_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The visible folders in a folder, sorted; none if it cannot be read."""
    return [path for path in _visible(folder) if path.is_dir()]


def images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The visible image files in a folder, by their suffixes, in the order of their numbers."""
    found = (path for path in _visible(folder) if path.suffix.lower() in SUFFIXES)
    return sorted((path for path in found if path.is_file()), key=_numbers)


def images_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """The image files in a folder and in the folders in it."""
    found = images_in(folder)
    for below in folders_in(folder):
        if not below.is_symlink():  # it may lead back
            found += images_below(below)
    return found


def by_name(masks: Iterable[pathlib.Path], folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Masks by their path below a folder, without suffix; a PNG where there are several."""
    ordered = sorted(masks, key=lambda path: path.suffix.lower() == ".png")
    return {name_of(path, folder): path for path in ordered}


def name_of(path: pathlib.Path, folder: pathlib.Path) -> str:
    """The path below a folder, without suffix."""
    return path.relative_to(folder).with_suffix("").as_posix()


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:  # missing, no folder, or not permitted
        return []
    return [folder / name for name in names]


def _numbers(path: pathlib.Path) -> list[tuple[int, str]]:
    """A key that sorts 2.jpg before 10.jpg."""
    parts = re.split(r"([0-9]+)", path.name)
    return [
        (int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts
    ]
