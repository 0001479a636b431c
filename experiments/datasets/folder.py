"""A person's own images: folders, files, globs and text lists, without annotation.

Ids are paths without extension, relative to the folder given; to the folder before the first
wildcard of a glob; to the folder of a text list (or, where it lists files outside, to the deepest
folder that holds all of them). A single file has its stem. Images are turned upright by their EXIF
orientation. Hidden files and folders are passed over.
"""

import functools
import glob
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence

from experiments.datasets.records import Dataset, Record
from specjax import images
from specjax.errors import SpecjaxError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
LIST_SUFFIXES = (".txt", ".lst")


def open_folder(paths: Sequence[pathlib.Path]) -> Dataset:
    """Opens images; each path is a folder, an image file, a glob or a text list of image paths.

    Files are listed here, once, and sorted by path within an argument. A file that two arguments
    give under one id is read once.

    Raises:
      SpecjaxError: nothing given, no such path, or no image in it.
    """
    if not paths:
        raise SpecjaxError("no images given: name a folder, image files, a glob or a text list")
    found: dict[tuple[str, str], None] = {}
    identity = {"name": "folder", "data_dir": "\n".join(os.path.abspath(path) for path in paths)}
    for path in paths:
        found.update(dict.fromkeys(_expand(path)))
        if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            identity["lists_sha256"] = " ".join([*identity.get("lists_sha256", "").split(), digest])

    def records() -> Iterator[Record]:
        for record_id, file in found:
            yield Record(
                id=record_id,
                source=file,
                read_image=functools.partial(images.decode, file, exif=True),
                read_instances=None,
            )

    return Dataset("folder", annotated=False, identity=identity, records=records)


def _expand(path: pathlib.Path) -> list[tuple[str, str]]:
    """(id, absolute file) of the images of one argument."""
    if path.is_dir():
        files = _walk(path)
        if not files:
            raise SpecjaxError(f"no images in {str(path)!r} (looked for {', '.join(SUFFIXES)})")
        return _relative(files, path)
    if path.is_file():
        if path.suffix.lower() in LIST_SUFFIXES:
            return _read_list(path)
        # Any other file was named by its user: where it is no image, reading it says so.
        return _relative([path], path.parent)
    if glob.has_magic(str(path)):
        matches = sorted(pathlib.Path(match) for match in glob.glob(str(path), recursive=True))
        files = [match for match in matches if _is_image(match)]
        if not files:
            raise SpecjaxError(f"no images match {str(path)!r} (looked for {', '.join(SUFFIXES)})")
        parts = path.parts
        fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        return _relative(files, pathlib.Path(*parts[:fixed]))
    raise SpecjaxError(f"{str(path)!r}: no such file or folder")


def _walk(folder: pathlib.Path) -> list[pathlib.Path]:
    def refuse(error: OSError) -> None:
        raise SpecjaxError(f"folder {error.filename!r} cannot be read: {error.strerror}")

    files = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [pathlib.Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(file for file in files if _is_image(file))


def _read_list(listing: pathlib.Path) -> list[tuple[str, str]]:
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise SpecjaxError(f"{str(listing)!r} cannot be read as a text list of paths") from None
    base = pathlib.Path(os.path.abspath(listing)).parent
    files = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        file = pathlib.Path(os.path.normpath(base / pathlib.Path(line.strip()).expanduser()))
        if not file.is_file():
            raise SpecjaxError(
                f"{str(listing)!r}, line {number}: no file {str(file)!r} (paths are relative to "
                "the folder of the list)"
            )
        files.append(file)
    if not files:
        raise SpecjaxError(f"{str(listing)!r} lists no images")
    if not all(file.is_relative_to(base) for file in files):
        base = pathlib.Path(os.path.commonpath([file.parent for file in files]))
    return _relative(files, base)


def _relative(files: Sequence[pathlib.Path], base: pathlib.Path) -> list[tuple[str, str]]:
    return [
        (file.relative_to(base).with_suffix("").as_posix(), os.path.abspath(file))
        for file in files
    ]


def _is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()
