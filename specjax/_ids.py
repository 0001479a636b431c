"""Names of images in results: short, different from each other, and safe to write."""

import collections
import itertools
import os
import pathlib
import types
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

_ESCAPED = ("Cc", "Cs", "Zl", "Zp")  # control, surrogate, line and paragraph separators


class Found(NamedTuple):
    """An image that was found.

    Attributes:
        file: its path, beginning with `/`.
        base: the folder that its id is relative to, if no other image has that id.
    """

    file: pathlib.Path
    base: pathlib.Path


class _Paths(NamedTuple):
    """Paths that may be the id of an image, from the base to the longest."""

    bare: Sequence[str]  # without suffix
    whole: Sequence[str]


def assign_ids(
    images: Sequence[Found], known: Mapping[str, str] = types.MappingProxyType({})
) -> list[str]:
    """The id of each image: the shortest path that tells it apart from the others.

    A path begins at the base, or at a folder above it where that is too short. It has the suffix of
    the file only where no path without suffix is enough. Images of one path get a number.

    Args:
        images: their files.
        known: ids by path that these and other images have already, and keep.
    """
    taken = set(known.values())
    paths = [_paths(found) for found in images]
    # How many images have a path: an id with one is understood without the others.
    owners = collections.Counter(itertools.chain(*({*bare, *whole} for bare, whole in paths)))
    longest = collections.Counter(
        itertools.chain(*({bare[-1], whole[-1]} for bare, whole in paths))
    )
    ids: list[str | None] = [known.get(str(found.file)) for found in images]
    for number, (bare, whole) in enumerate(paths):
        if ids[number] is None:
            # A path that others end with is an id if it is this image's own in full.
            own = bare[-1] if longest[bare[-1]] == 1 else None
            choices = [path for path in (*bare, *whole) if owners[path] == 1 or path == own]
            ids[number] = next((path for path in choices if path not in taken), None)
    taken.update(filter(None, ids))
    for number, (_, whole) in enumerate(paths):
        if ids[number] is None:  # it differs from another in its suffix, which the other has twice
            numbered = (f"{whole[-1]}_{count}" for count in itertools.count(2))
            chosen = next(path for path in itertools.chain(whole, numbered) if path not in taken)
            ids[number] = chosen
            taken.add(chosen)
    return [name for name in ids if name is not None]


def earlier_ids(lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The ids by path of images that have a line in a journal, if the file still exists."""
    earlier = {line["source"]: line["id"] for line in lines if "source" in line}
    return {path: name for path, name in earlier.items() if os.path.exists(path)}


def file_name(photo_id: str, file: pathlib.Path) -> str:
    """The path of a photograph as its id has it, with the suffix of the file."""
    name = escaped(file.name)
    if photo_id.rpartition("/")[2] == name:  # the id has the suffix, or the file has none
        return photo_id
    return photo_id + escaped(file.suffix)


def escaped(text: str) -> str:
    """Replace what file systems, JSON or terminals may not take, as in a URL: `%5C`.

    These are backslashes, control characters, separators of lines and bytes that are no UTF-8.
    """
    return "".join(map(_escape, text))


def _escape(letter: str) -> str:
    if letter != "\\" and unicodedata.category(letter) not in _ESCAPED:
        return letter
    errors = "surrogateescape" if "\udc80" <= letter <= "\udcff" else "surrogatepass"
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", errors))


def _paths(found: Found) -> _Paths:
    parts = [escaped(part) for part in found.file.parts[1:]]
    shortest = len(found.file.relative_to(found.base).parts)
    whole = ["/".join(parts[-length:]) for length in range(shortest, len(parts) + 1)]
    suffix = escaped(found.file.suffix)
    return _Paths([path.removesuffix(suffix) for path in whole], whole)
