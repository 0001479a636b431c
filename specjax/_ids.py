"""Names of photographs in results: short, different from each other, and safe to write."""

import collections
import itertools
import pathlib
import types
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_ESCAPED = ("Cc", "Cs", "Zl", "Zp")  # control, surrogate, line and paragraph separators


class Found(NamedTuple):
    """A photograph that was found.

    Attributes:
        file: its absolute path.
        base: the folder that its id is relative to, if no other photograph has that id.
    """

    file: pathlib.Path
    base: pathlib.Path


def assign_ids(
    photographs: Sequence[Found], known: Mapping[str, str] = types.MappingProxyType({})
) -> list[str]:
    """The id of each photograph: the shortest path that tells it apart from the others.

    A path begins at the base, or at a folder above it where that is too short. It has the suffix of
    the file only where no path without suffix is enough.

    Args:
        photographs: different files.
        known: ids by path that these and other photographs have already, and keep.
    """
    taken = set(known.values())
    candidates = [[*_candidates(found)] for found in photographs]
    # How many photographs have a candidate: an id with one is understood without the others.
    owners = collections.Counter(itertools.chain(*map(set, candidates)))
    ids: list[str | None] = [known.get(str(found.file)) for found in photographs]
    for number, choices in enumerate(candidates):
        if ids[number] is None:
            ids[number] = next((c for c in choices if owners[c] == 1 and c not in taken), None)
    taken.update(filter(None, ids))
    for number, choices in enumerate(candidates):
        if ids[number] is None:  # it differs from another in its suffix, which the other has twice
            numbered = (f"{choices[-1]}_{count}" for count in itertools.count(2))
            rest = itertools.chain(choices[len(choices) // 2 :], numbered)
            chosen = next(choice for choice in rest if choice not in taken)
            ids[number] = chosen
            taken.add(chosen)
    return [name for name in ids if name is not None]


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


def _candidates(found: Found) -> Iterator[str]:
    """Paths that may be the id, as long as there are different ones: first those without suffix."""
    parts = [escaped(part) for part in found.file.parts[1:]]
    shortest = len(found.file.relative_to(found.base).parts)
    suffix = escaped(found.file.suffix)
    for removed in (suffix, ""):
        for length in range(shortest, len(parts) + 1):
            yield "/".join(parts[-length:]).removesuffix(removed)
