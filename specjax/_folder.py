"""Files that are whole or absent: written beside their place, then renamed."""

import contextlib
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any

from specjax.errors import SpecjaxError

# Of files that are being written, and how long one may take.
_PREFIX, _SECONDS = ".writing-", 60


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Asked for once: to ask is to change it for a moment, for all threads.
_MODE = 0o666 & ~_umask()


class OutputError(SpecjaxError):
    """Results cannot be written: no image that follows would fare better."""


def write_atomically(path: pathlib.Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a temporary file, then rename it to `path`; folders are made.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
        # mkstemp's mode is private; results are ordinary files.
        os.chmod(temporary, _MODE)
        os.replace(temporary, path)
    except OSError as error:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def remove_remains(folder: pathlib.Path) -> None:
    """Delete what a process that was killed while it wrote left in a folder and those below."""
    for path in folder.rglob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process may be done with it
            # A file is written at once: what has not been touched for long is nobody's.
            if time.time() - path.stat().st_mtime > _SECONDS:
                path.unlink()


def write_json(path: pathlib.Path, value: Any, *, indent: int | None = 2) -> None:
    """`value` as strict JSON (no NaN), atomically."""
    text = json.dumps(value, indent=indent, allow_nan=False) + "\n"
    write_atomically(path, lambda stream: stream.write(text.encode()))


def _unwritable(path: pathlib.Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror}; free some space or choose another folder",
        parameter="output_dir",
    )
