"""One path, or several with commas between them."""

import glob
import os
import pathlib
from collections.abc import Sequence

from specjax import SpecjaxError

Path = str | os.PathLike


def paths_of(given: Path | Sequence[Path] | None) -> list[pathlib.Path]:
    """The absolute paths of a text with commas, of a path, or of a sequence of paths.

    A comma may belong to a name: of the ways to read a text, that with the longest paths that exist
    is taken, from the left.

    >>> [path.name for path in paths_of("/data/first,/data/second")]
    ['first', 'second']
    """
    if given is None:
        return []
    if not isinstance(given, str):
        return [_absolute(path) for path in ([given] if isinstance(given, os.PathLike) else given)]
    pieces, found = given.split(","), list[str]()
    while pieces:
        lengths = range(len(pieces), 1, -1)
        length = next((n for n in lengths if _exists(",".join(pieces[:n]))), 1)
        found.append(",".join(pieces[:length]))
        del pieces[:length]
    if "" in found:
        raise SpecjaxError(f"--data_dir={given}: a path before or after a comma is empty")
    return [_absolute(path) for path in found]


def _absolute(path: Path) -> pathlib.Path:
    # As the identity of a run must not depend on the working directory.
    return pathlib.Path(os.path.abspath(os.path.expanduser(path)))


def _exists(text: str) -> bool:
    path = os.path.expanduser(text)
    return os.path.exists(path) or (glob.has_magic(path) and bool(glob.glob(path, recursive=True)))
