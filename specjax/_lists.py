"""Text files that list images, frames or ids, one per line."""

import hashlib
import pathlib
from typing import NamedTuple

from specjax.errors import SpecjaxError


class Listing(NamedTuple):
    """A text file that was read.

    Attributes:
        lines: its stripped lines by number, from 1.
        sha256: digest of its bytes.
    """

    lines: dict[int, str]
    sha256: str


def read_list(path: pathlib.Path, *, name: str, what: str) -> Listing:
    """Read a list from a text file in UTF-8, or UTF-16 with a byte order mark.

    Empty lines and lines that begin with `#` are skipped.

    Args:
        path: the file.
        name: names the file in error messages.
        what: names the listed things in error messages, such as "images".

    Raises:
        SpecjaxError: the file cannot be read, is not text, or lists nothing.
    """
    try:
        data = path.read_bytes()
        encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        lines = map(str.strip, data.decode(encoding).splitlines())
    except OSError as error:
        raise SpecjaxError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecjaxError(f"{name} is not a text file") from None
    listed = {n: line for n, line in enumerate(lines, 1) if line and not line.startswith("#")}
    if not listed:
        raise SpecjaxError(f"{name} lists no {what}")
    return Listing(listed, hashlib.sha256(data).hexdigest())
