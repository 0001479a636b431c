"""Files that processes hold against each other; the system lets go when a process ends."""

import fcntl
import pathlib
from typing import IO

from specjax.errors import SpecjaxError


class Held(Exception):
    """Another process holds the file."""


def hold(path: pathlib.Path, *, shared: bool = False, wait: bool = False) -> IO[bytes]:
    """Hold a file until what is returned is closed; the file is made where it is missing.

    Args:
        path: the file.
        shared: others may hold it too, if they share it.
        wait: until it is free.

    Raises:
        Held: another process holds it, and `wait` is false.
        SpecjaxError: it cannot be written, or its file system knows no locks.
    """
    try:
        # For reading and writing: over NFS a shared lock needs the one, any other the other.
        file = path.open("a+b")
    except OSError as error:
        raise SpecjaxError(
            f"cannot write to {path.parent}: {error.strerror}; choose another --output_dir"
        ) from error
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Held(path) from None
    except OSError as error:
        file.close()
        raise SpecjaxError(
            f"cannot lock {path}: {error.strerror}; choose an --output_dir on a file system with"
            " locks"
        ) from error
    return file
