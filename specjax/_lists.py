"""Text files that list something, one a line: images, frames, ids."""

import hashlib
import pathlib
from typing import NamedTuple

from specjax.errors import SpecjaxError


class Listing(NamedTuple):
    """The lines of a text file by their number, stripped, and the sha256 of its bytes."""

    lines: dict[int, str]
    sha256: str


def read_list(path: pathlib.Path, *, name: str, what: str) -> Listing:
    """Reads a text file in UTF-8; empty lines and lines that begin with `#` do not count.

    Args:
      path: the file.
      name: the file in error messages.
      what: what it lists, in error messages.

    Raises:
      SpecjaxError: no such file, no text, or nothing listed.
    """
    try:
        data = path.read_bytes()
        lines = map(str.strip, data.decode("utf-8-sig").splitlines())
    except OSError as error:
        raise SpecjaxError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecjaxError(f"{name} is no text file") from None
    listed = {n: line for n, line in enumerate(lines, 1) if line and not line.startswith("#")}
    if not listed:
        raise SpecjaxError(f"{name} lists no {what}")
    return Listing(listed, hashlib.sha256(data).hexdigest())
